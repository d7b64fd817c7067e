"""Shopping carts: one open cart per user, its lines as records (sc_cart, sc_cart_item, sc_item_option)."""

from collections.abc import Mapping

from nowtwin.accounts.users import User
from nowtwin.catalog.items import Line, item_of, variables_of
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.selecting import Row, find, select


class Carts:
    def __init__(self, instance: Instance, user: User) -> None:
        self._instance = instance
        self._user = user

    def cart_id(self) -> str:
        """The user's cart, made when there is none."""
        known = find(self._instance, "sc_cart", {"user": self._user.sys_id}, ("sys_id",))
        if known is not None:
            return known["sys_id"]
        row = {"sys_id": self._instance.records.new_id(), "name": "DEFAULT", "user": self._user.sys_id}
        self._instance.load("sc_cart", [row])
        return row["sys_id"]

    def add(self, line: Line) -> None:
        cart = self.cart_id()
        values = {"cart": cart, "cat_item": line.item["sys_id"], "quantity": str(line.quantity), "active": "true"}
        values |= {"order_guide": line.guide} if line.guide else {}
        sys_id = self._instance.records.new_id()
        self._instance.load("sc_cart_item", [values | {"sys_id": sys_id}])
        variables = {row["name"]: row["sys_id"] for row in variables_of(self._instance, line.item["sys_id"])}
        options = [
            {"cart_item": sys_id, "item_option_new": variables[name], "value": value}
            for name, value in line.answers.items()
        ]
        self._instance.load("sc_item_option", options)

    def rows(self) -> list[Row]:
        """Lines of the cart, in the order in which they came."""
        self._instance.storage.ensure("sc_cart_item", ("cart",))
        sql = "SELECT sys_id FROM sc_cart_item WHERE cart = ? ORDER BY rowid"
        ids = [str(row[0]) for row in self._instance.storage.rows(sql, (self.cart_id(),))]
        found = {
            row["sys_id"]: row for row in select(self._instance, "sc_cart_item", parse(f"sys_idIN{','.join(ids)}"))
        }
        return [found[sys_id] for sys_id in ids]

    def lines(self) -> list[tuple[Row, Line]]:
        return [(row, self.line(row)) for row in self.rows()]

    def line(self, row: Row) -> Line:
        item = item_of(self._instance, row["cat_item"])
        names = {variable["sys_id"]: variable["name"] for variable in variables_of(self._instance, item["sys_id"])}
        options = select(self._instance, "sc_item_option", parse(f"cart_item={row['sys_id']}"))
        answers = {names[o["item_option_new"]]: o["value"] for o in options if o["item_option_new"] in names}
        return Line(item, int(row["quantity"] or 1), answers, row["order_guide"])

    def change(self, row: Row, quantity: int, answers: Mapping[str, str]) -> None:
        line = self.line(row)
        self.remove(row)
        self.add(Line(line.item, quantity, {**line.answers, **answers}, line.guide))

    def remove(self, row: Row) -> None:
        for option in select(self._instance, "sc_item_option", parse(f"cart_item={row['sys_id']}"), ("sys_id",)):
            self._instance.storage.delete("sc_item_option", option["sys_id"])
        self._instance.storage.delete("sc_cart_item", row["sys_id"])

    def empty(self) -> None:
        for row in self.rows():
            self.remove(row)
