"""Rotation of pairs by the angles of their positions."""


def rotate(x, table, index, size, interleaved, out):
    """Rotate the first ``size`` elements of each row and copy the others."""
    rows = table[index][:, None]
    middle = rows.shape[-1] // 2
    cos, sin = rows[..., :middle], rows[..., middle:]
    if interleaved:
        pairs = x[..., :size].reshape(*x.shape[:-1], size // 2, 2)
        turned = pairs[..., ::-1].reshape(*x.shape[:-1], size)
        result = x[..., :size] * cos + turned * sin
    else:
        a, b = x[..., : size // 2].copy(), x[..., size // 2 : size].copy()
        out[..., : size // 2], out[..., size // 2 : size] = a * cos - b * sin, b * cos + a * sin
    if interleaved:
        out[..., :size] = result
    out[..., size:] = x[..., size:]
