"""Which targets a redirect may go to: pages of this site and nothing else.

A target is what stands behind `nav_to.do?uri=` or `/now/nav/ui/classic/params/target/`. Only a page name ending in
`.do`, with or without parameters, passes; a scheme, a host, a second slash, a backslash or a control character does not.
"""

import re
from urllib.parse import quote

_PAGE = re.compile(r"/?(?P<page>[A-Za-z0-9_$]+\.do)(?:\?(?P<parameters>[^\x00-\x1f\x7f\\]*))?")


def own_path(target: str) -> str | None:
    """The path on this site that a target means, ready for a Location header or a link; None for any other."""
    found = _PAGE.fullmatch(target.strip())
    if found is None:
        return None
    parameters = found["parameters"]
    if parameters is None:
        return f"/{found['page']}"
    return f"/{found['page']}?{quote(parameters, safe='=&%+,.-_~@:;/!*()$?^')}"
