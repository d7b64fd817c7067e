"""The service catalog: items, carts, order guides."""
