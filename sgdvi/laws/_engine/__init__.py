"""The numerics of the exact laws: densities, quadratures, tables. Private; the door is `sgdvi.laws._law`."""
