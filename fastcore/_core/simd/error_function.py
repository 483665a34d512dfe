"""erf: a polynomial below 1, 1 - exp(-x**2 + polynomial) above.

Coefficients as in exponential.py. The error beside a table is relative to erf.
"""

from __future__ import annotations

from numba.extending import intrinsic

from fastcore._core.simd.emit import copy_sign, fused, horner, unary
from fastcore._core.simd.exponential import emit_exp

# (erf(t) / t - 1) in t**2, on [0, 1]; log(erfc(t)) + t**2 in t, on [1, LARGEST]
_SMALL = {
    # 1.4e-9
    32: (
        0.12837916612625122,
        -0.3761262595653534,
        0.11283580213785172,
        -0.026853496208786964,
        0.005187620408833027,
        -0.000800341775175184,
        7.830266986275092e-05,
    ),
    # 1.4e-17
    64: (
        0.12837916709551256,
        -0.37612638903183454,
        0.1128379167094243,
        -0.026866170642895825,
        0.00522397760465219,
        -0.0008548325868548298,
        0.00012055291962356756,
        -1.492468421768855e-05,
        1.6446813373033639e-06,
        -1.620405175951633e-07,
        1.3701820283506167e-08,
        -7.763348526925943e-10,
    ),
}
_LARGE = {
    # 1.1e-9
    32: (
        -0.0003410310309845954,
        -1.1270911693572998,
        0.36185842752456665,
        -0.10310956835746765,
        0.021839406341314316,
        -0.0029479945078492165,
        0.00018641386122908443,
    ),
    # 7.1e-18
    64: (
        -5.016798223367074e-07,
        -1.1283741005264125,
        0.363356420268298,
        -0.1027035696813192,
        0.018990420140909656,
        0.0004103011434216223,
        -0.0019156087138484889,
        0.0007703785997539105,
        -0.00013488681919896896,
        -2.034612019769767e-05,
        2.2852848225406537e-05,
        -8.676221664359336e-06,
        2.1377642559676726e-06,
        -3.736661762518646e-07,
        4.646904136609294e-08,
        -3.938293250038252e-09,
        2.0471285742238864e-10,
        -4.9340046627176515e-12,
    ),
}
_LARGEST = {32: 4.0, 64: 6.0}  # erf rounds to 1 from 3.92 and 5.92


def emit_erf(x):
    bits = x.vector.dtype.bitwidth
    size = x.absolute()
    small = fused(size, horner(size * size, _SMALL[bits]), size)
    t = size.at_most(_LARGEST[bits])
    large = 1.0 - emit_exp(fused(-t, t, horner(t, _LARGE[bits])))
    return copy_sign((size < 1.0).choose(small, large), x)


@intrinsic
def erf(typingctx, x):
    """Return the error function, at most 1 ulp off; keeps the sign of zero."""
    return unary(emit_erf, x)
