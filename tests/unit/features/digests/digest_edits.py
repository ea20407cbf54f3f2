"""Modules in which one edit changes what ``vwap`` returns (``EDITS``), or does not (``NO_EDITS``).

In the first ``<W>`` is 5 before the edit and 9 after it; the others are pairs of texts.
"""

from __future__ import annotations

import textwrap

HEAD = "import functools, sys\nimport pandas as pd\n"

_EDITS = {
    "constant": "W = <W>\ndef vwap(raw, config):\n    return W",
    "helper": "def helper():\n    return <W>\ndef vwap(raw, config):\n    return helper()",
    "default": "def vwap(raw, config, w=<W>):\n    return w",
    "keyword default": "def vwap(raw, config, *, w=<W>):\n    return w",
    "default by a constant": "W = <W>\ndef vwap(raw, config, w=W):\n    return w",
    "lambda": "of = lambda: <W>\ndef vwap(raw, config):\n    return of()",
    "partial": "of = functools.partial(int, <W>)\ndef vwap(raw, config):\n    return of()",
    "callable instance": "class Of:\n    def __call__(self):\n        return <W>\nof = Of()\ndef vwap(raw, config):\n    return of()",
    "attribute of a function": "def of(): return of.w\nof.w = <W>\ndef vwap(raw, config):\n    return of()",
    "enum": "import enum\nclass E(enum.Enum):\n    W = <W>\ndef vwap(raw, config):\n    return E.W.value",
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass D:\n    w: int = <W>\ndef vwap(raw, config):\n    return D().w",
    "inheritance": "class A:\n    w = <W>\nclass B(A):\n    pass\ndef vwap(raw, config):\n    return B.w",
    "conditional constant": "if sys.version_info > (3,):\n    W = <W>\nelse:\n    W = 0\ndef vwap(raw, config):\n    return W",
    "with": "import contextlib\nwith contextlib.nullcontext(<W>) as W:\n    pass\ndef vwap(raw, config):\n    return W",
    "match": "match <W>:\n    case W:\n        pass\ndef vwap(raw, config):\n    return W",
    "walrus": "if (W := <W>):\n    pass\ndef vwap(raw, config):\n    return W",
    "del": "W = 1\ntry:\n    if <W> == 9:\n        del W\nexcept NameError:\n    pass\ndef vwap(raw, config):\n    return 'W' in globals()",
    "loop": "T = []\nfor w in range(<W>):\n    T.append(w)\ndef vwap(raw, config):\n    return len(T)",
    "own decorator": "def times(f):\n    return lambda raw, config: <W> * f(raw, config)\ndef base(raw, config):\n    return 1\nrun = times(base)\ndef vwap(raw, config):\n    return run(raw, config)",
    "query": "LIMIT = <W>\ndef vwap(raw, config):\n    return len(raw.query('close > @LIMIT'))",
    "frame eval": "SCALE = <W>\ndef vwap(raw, config):\n    return raw.eval('x = close * @SCALE')['x'].sum()",
    "query of a formatted text": "LIMIT = <W>\ndef vwap(raw, config):\n    name = config.get('limit', 'LIMIT')\n    return len(raw.query(f'close > @{name}'))",
    "query of a text from the config": "LIMIT = <W>\ndef vwap(raw, config):\n    return len(raw.query(config.get('q', ''.join(['close > @', 'LIM', 'IT']))))",
    "pd.eval": "SCALE = <W>\ndef vwap(raw, config):\n    return pd.eval('SCALE * 2')",
    "eval": "W = <W>\ndef vwap(raw, config):\n    return eval('W')",
    "eval of a built text": "W = <W>\ndef vwap(raw, config):\n    return eval('W'.upper())",
    "exec": "exec('W = <W>')\ndef vwap(raw, config):\n    return W",
    "exec of a name": "TEXT = 'W = <W>'\nexec(TEXT)\ndef vwap(raw, config):\n    return W",
    "exec in the function": "W = <W>\ndef vwap(raw, config):\n    space = {}\n    exec('r = 2 * ' + 'W', globals(), space)\n    return space['r']",
    "globals": "W = <W>\ndef vwap(raw, config):\n    return globals()['W']",
    "globals by a built name": "W = <W>\ndef vwap(raw, config):\n    return globals()['w'.upper()]",
    "globals store": "globals()['W'] = <W>\ndef vwap(raw, config):\n    return W",
    "globals update": "globals().update({'w'.upper(): <W>})\ndef vwap(raw, config):\n    return W",
    "vars": "W = <W>\ndef vwap(raw, config):\n    return vars(sys.modules[__name__])['w'.upper()]",
    "setattr": "setattr(sys.modules[__name__], 'W', <W>)\ndef vwap(raw, config):\n    return W",
    "sys.modules store": "sys.modules[__name__].W = <W>\ndef vwap(raw, config):\n    return W",
    "sys.modules look-up": "W = <W>\ndef vwap(raw, config):\n    return getattr(sys.modules[__name__], 'w'.upper())",
    "function globals": "W = <W>\ndef vwap(raw, config):\n    return vwap.__globals__['w'.upper()]",
    "builtins": "import builtins\nbuiltins.w_of_mine = <W>\ndef vwap(raw, config):\n    return w_of_mine",
    "monkeypatch of a library": "pd.DataFrame.mine = lambda self: <W>\ndef vwap(raw, config):\n    return raw.mine()",
    "monkeypatch of a class": "class A:\n    def w(self):\n        return 1\ndef other(self):\n    return <W>\nA.w = other\ndef vwap(raw, config):\n    return A().w()",
    "registry decorator": "REG = {}\ndef register(f):\n    REG[f.__name__] = f\n    return f\n@register\ndef momentum(x):\n    return <W>\ndef vwap(raw, config):\n    return REG['moment' + 'um'](raw)",
    "steps": "STEPS = []\ndef step(f):\n    STEPS.append(f)\n    return f\n@step\ndef momentum(x):\n    return <W>\ndef vwap(raw, config):\n    return [s(raw) for s in STEPS]",
    "steps with arguments": "STEPS = []\ndef step(n):\n    def deco(f):\n        STEPS.append((n, f))\n        return f\n    return deco\n@step(<W>)\ndef momentum(x):\n    return 1\ndef vwap(raw, config):\n    return [n * s(raw) for n, s in STEPS]",
    "registry class": "class Registry(dict):\n    def add(self, f):\n        self[f.__name__] = f\n        return f\nREG = Registry()\n@REG.add\ndef momentum(x):\n    return <W>\ndef vwap(raw, config):\n    return sum(f(raw) for f in REG.values())",
    "registered class": "REG = []\ndef register(c):\n    REG.append(c)\n    return c\n@register\nclass Momentum:\n    w = <W>\ndef vwap(raw, config):\n    return REG[0].w",
    "registering decorator in a class": "REG = []\nclass Group:\n    @REG.append\n    def momentum(x):\n        return <W>\ndef vwap(raw, config):\n    return REG[0](1)",
    "singledispatch": "@functools.singledispatch\ndef go(x):\n    return 0\n@go.register\ndef _(x: pd.DataFrame):\n    return <W>\ndef vwap(raw, config):\n    return go(raw)",
    "singledispatch by call": "@functools.singledispatch\ndef go(x):\n    return 0\ndef of_frame(x):\n    return <W>\ngo.register(pd.DataFrame, of_frame)\ndef vwap(raw, config):\n    return go(raw)",
    "subclasses": "class Base:\n    pass\nclass Sub(Base):\n    def w(self):\n        return <W>\ndef vwap(raw, config):\n    return Base.__subclasses__()[0]().w()",
    "init_subclass": "class Base:\n    found = []\n    def __init_subclass__(cls):\n        Base.found.append(cls)\nclass Sub(Base):\n    w = <W>\ndef vwap(raw, config):\n    return Base.found[0].w",
    "init_subclass of a grandparent": "class Base:\n    found = []\n    def __init_subclass__(cls):\n        Base.found.append(cls)\nclass Middle(Base):\n    pass\nclass Sub(Middle):\n    w = <W>\ndef vwap(raw, config):\n    return Base.found[-1].w",
    "metaclass": "class Meta(type):\n    found = []\n    def __init__(cls, *rest):\n        Meta.found.append(cls)\nclass Sub(metaclass=Meta):\n    w = <W>\ndef vwap(raw, config):\n    return Meta.found[0].w",
    "class keyword": "class Base:\n    def __init_subclass__(cls, w=0):\n        Base.w = w\nclass Sub(Base, w=<W>):\n    pass\ndef vwap(raw, config):\n    return Base.w",
    "set_name": "FOUND = []\nclass Field:\n    def __init__(self, w):\n        self.w = w\n    def __set_name__(self, owner, name):\n        FOUND.append(self.w)\nclass Model:\n    field = Field(<W>)\ndef vwap(raw, config):\n    return FOUND",
    "accessor": "@pd.api.extensions.register_dataframe_accessor('alpha_of_mine')\nclass Alpha:\n    def __init__(self, frame):\n        self.frame = frame\n    def w(self):\n        return <W>\ndef vwap(raw, config):\n    return raw.alpha_of_mine.w()",
    "abstract registration": "import abc\nclass Kind(abc.ABC):\n    pass\nif <W> == 9:\n    Kind.register(pd.DataFrame)\ndef vwap(raw, config):\n    return isinstance(raw, Kind)",
    "class constant as a default": "class vwap_class:\n    W = <W>\n    @staticmethod\n    def vwap(raw, config, w=W):\n        return w\nvwap = vwap_class.vwap",
    "decorator defined in the class": "class C:\n    def times(f):\n        @functools.wraps(f)\n        def run(raw, config):\n            return <W> * f(raw, config)\n        return run\n    @staticmethod\n    @times\n    def vwap(raw, config):\n        return 1\nvwap = C.vwap",
    "neighbour of a static method": "class C:\n    @staticmethod\n    def helper():\n        return <W>\n    @staticmethod\n    def vwap(raw, config):\n        return C.helper()\nvwap = C.vwap",
    "wrapped by a call": "def windowed(n):\n    def deco(f):\n        @functools.wraps(f)\n        def inner(raw, config):\n            return f(raw, {'n': n})\n        return inner\n    return deco\ndef impl(raw, config):\n    return config['n']\nvwap = windowed(<W>)(impl)",
    "body of a wrapper": "def windowed(n):\n    def deco(f):\n        @functools.wraps(f)\n        def inner(raw, config):\n            return f(raw, {'n': n + <W>})\n        return inner\n    return deco\ndef impl(raw, config):\n    return config['n']\nvwap = windowed(1)(impl)",
    "update for its effect": "TABLE = {}\n_ = TABLE.update(w=<W>)\ndef vwap(raw, config):\n    return TABLE['w']",
    "call with a result": "TABLE = {}\ndef fill(t, w):\n    t['w'] = w\n    return 1\nX = fill(TABLE, <W>)\ndef vwap(raw, config):\n    return TABLE['w']",
    "annotated call": "TABLE = {}\ndef fill(t, w):\n    t['w'] = w\nX: None = fill(TABLE, <W>)\ndef vwap(raw, config):\n    return TABLE['w']",
    "call in a default": "TABLE = {}\ndef fill(w):\n    TABLE['w'] = w\ndef other(x=fill(<W>)):\n    return x\ndef vwap(raw, config):\n    return TABLE['w']",
    "call in an annotation": "TABLE = {}\ndef fill(w):\n    TABLE['w'] = w\ndef other(x: fill(<W>)):\n    return x\nother.__annotations__\ndef vwap(raw, config):\n    return TABLE['w']",
    "call in a base": "TABLE = {}\ndef fill(w):\n    TABLE['w'] = w\n    return object\nclass Other(fill(<W>)):\n    pass\ndef vwap(raw, config):\n    return TABLE['w']",
    "call in a decorator": "TABLE = {}\ndef sets(w):\n    TABLE['w'] = w\n    return lambda f: f\n@sets(<W>)\ndef unrelated():\n    pass\ndef vwap(raw, config):\n    return TABLE['w']",
    "alias": "TABLE = {}\nALIAS = TABLE\nALIAS['w'] = <W>\ndef vwap(raw, config):\n    return TABLE['w']",
    "alias of an alias": "TABLE = {}\nPAIR = (TABLE, 1)\nPAIR[0]['w'] = <W>\ndef vwap(raw, config):\n    return TABLE['w']",
    "augmented alias": "T = []\nALIAS = T\nALIAS += [<W>]\ndef vwap(raw, config):\n    return T",
    "operator that stores": "class Steps(list):\n    def __rshift__(self, other):\n        self.append(other)\n        return self\nT = Steps()\nX = T >> <W>\ndef vwap(raw, config):\n    return T[0]",
    "subscript that stores": "import collections\nT = collections.defaultdict(list)\nX = T[<W>]\ndef vwap(raw, config):\n    return list(T)",
    "star that consumes": "IT = iter(range(100))\nX = [*(next(IT) for _ in range(<W>))]\ndef vwap(raw, config):\n    return IT.__reduce__()[1:]",
    "attribute that stores": "class Box:\n    n = 0\n    @property\n    def more(self):\n        Box.n += <W>\n        return 1\nbox = Box()\nX = box.more\ndef vwap(raw, config):\n    return Box.n",
    "comprehension": "T = []\n[T.append(w) for w in (<W>,)]\ndef vwap(raw, config):\n    return T",
    "class body": "TABLE = {}\nclass Setup:\n    TABLE['w'] = <W>\ndef vwap(raw, config):\n    return TABLE['w']",
    "class body with a call": "TABLE = {}\nclass Setup:\n    done = TABLE.update(w=<W>)\ndef vwap(raw, config):\n    return TABLE['w']",
    "global of a class body": "W = 0\nclass Setup:\n    global W\n    W = <W>\ndef vwap(raw, config):\n    return W",
    "assert": "TABLE = {}\nassert TABLE.update(w=<W>) is None\ndef vwap(raw, config):\n    return TABLE['w']",
    "if": "TABLE = {}\nif not TABLE.update(w=<W>):\n    pass\ndef vwap(raw, config):\n    return TABLE['w']",
    "while": "TABLE = {}\nwhile TABLE.update(w=<W>):\n    pass\ndef vwap(raw, config):\n    return TABLE['w']",
    "try": "TABLE = {}\ntry:\n    raise KeyError(<W>)\nexcept KeyError as e:\n    TABLE['w'] = e.args\ndef vwap(raw, config):\n    return TABLE['w']",
    "raise": "TABLE = {}\ntry:\n    (lambda: TABLE.setdefault('w', <W>))()\nfinally:\n    pass\ndef vwap(raw, config):\n    return TABLE['w']",
    "logic that calls": "TABLE = {}\nX = True and TABLE.update(w=<W>)\ndef vwap(raw, config):\n    return TABLE['w']",
    "unpacking": "TABLE = {}\nTABLE['w'], X = <W>, 2\ndef vwap(raw, config):\n    return TABLE['w']",
    "slice": "T = [1, 2]\nT[:] = [<W>]\ndef vwap(raw, config):\n    return T",
    "mangled name": "_Features__w = <W>\nclass Features:\n    @staticmethod\n    def vwap(raw, config):\n        return __w\nvwap = Features.vwap",
    "mangled name of another class": "_Other__w = <W>\nclass Other:\n    def of(self):\n        return __w\ndef vwap(raw, config):\n    return Other().of()",
    "mangled global": "class _Features:\n    def set(self):\n        global __w\n        __w = <W>\n_Features().set()\ndef vwap(raw, config):\n    return _Features__w",
    "global in a nested function": "W = 0\ndef outer():\n    def inner():\n        global W\n        W = <W>\n    inner()\nouter()\ndef vwap(raw, config):\n    return W",
    "global in a method": "W = 0\nclass Setter:\n    def set(self):\n        global W\n        W = <W>\nSetter().set()\ndef vwap(raw, config):\n    return W",
    "module attributes": "def __getattr__(name):\n    return <W>\ndef vwap(raw, config):\n    return sys.modules[__name__].anything",
    "docstring that is looked up": 'def helper():\n    """<W>"""\ndef vwap(raw, config):\n    return helper.__doc__',
    "docstring of the module": "def vwap(raw, config):\n    return int(sys.modules[__name__].__doc__ or 0)\n__doc__ = '<W>'",
    "closure": "def make():\n    w = <W>\n    def inner():\n        return w\n    return inner\nof = make()\ndef vwap(raw, config):\n    return of()",
    "mutable default": "def of(x=[<W>]):\n    return x\ndef vwap(raw, config):\n    return of()",
    "class attribute set later": "class A:\n    w = 0\nsetattr(A, 'w', <W>)\ndef vwap(raw, config):\n    return A.w",
    "getattr by a built name": "class Table:\n    w = <W>\ndef vwap(raw, config):\n    return getattr(Table, 'w')",
    "dispatch by name": "def of_close():\n    return <W>\ndef vwap(raw, config):\n    return globals()[f'of_{raw.columns[0]}']()",
    "eval of bytes": "W = <W>\ndef vwap(raw, config):\n    return eval(b'W')",
    "names in a tuple": "W = <W>\nNAMES = ('W',)\ndef vwap(raw, config):\n    return [eval(name) for name in NAMES]",
    "attrgetter": "import operator\nW = <W>\ndef vwap(raw, config):\n    return operator.attrgetter('w'.upper())(__import__(__name__))",
    "global state of numpy": "import numpy as np\nnp.random.seed(<W>)\ndef vwap(raw, config):\n    return float(np.random.RandomState(<W>).rand())",
    "format of a frame": "pd.set_option('display.max_rows', <W>)\ndef vwap(raw, config):\n    return pd.get_option('display.max_rows')",
    "async": "import asyncio\nasync def of():\n    return <W>\ndef vwap(raw, config):\n    return asyncio.run(of())",
    "generator": "def of():\n    yield <W>\ndef vwap(raw, config):\n    return list(of())",
    "named tuple": "import typing\nclass T(typing.NamedTuple):\n    w: int = <W>\ndef vwap(raw, config):\n    return T().w",
    "exception": "class Stop(Exception):\n    w = <W>\ndef vwap(raw, config):\n    try:\n        raise Stop\n    except Stop as e:\n        return e.w",
    "operator overload": "class N:\n    def __add__(self, other):\n        return <W>\ndef vwap(raw, config):\n    return N() + 1",
    "context manager": "import contextlib\n@contextlib.contextmanager\ndef of():\n    yield <W>\ndef vwap(raw, config):\n    with of() as w:\n        return w",
    "atexit-like hook": "HOOKS = []\ndef hook():\n    return <W>\nHOOKS += [hook]\ndef vwap(raw, config):\n    return [h() for h in HOOKS]",
    "nested class": "class Outer:\n    class Inner:\n        w = <W>\ndef vwap(raw, config):\n    return Outer.Inner.w",
    "type alias union": "KINDS = (int, str) if <W> == 5 else (str,)\ndef vwap(raw, config):\n    return isinstance(3, KINDS)",
    "import under another name": "import math as m\nfrom operator import add as op_<W>\ndef vwap(raw, config):\n    return sorted(n for n in dir(sys.modules[__name__]) if n.startswith('op_'))",
}  # fmt: skip
EDITS = {name: HEAD + text + "\n" for name, text in _EDITS.items()}

_PAIRS = {
    "unpacked mapping": ("opts = {'a': 1}\ndef vwap(raw, config):\n    return {**opts}", "opts = {'a': 1}\ndef vwap(raw, config):\n    return len({None: opts})"),
    "default that is None": ("def h(x, *, w):\n    return x\ndef vwap(raw, config):\n    try:\n        return h(1)\n    except TypeError:\n        return 'refused'", "def h(x, *, w=None):\n    return x\ndef vwap(raw, config):\n    try:\n        return h(1)\n    except TypeError:\n        return 'refused'"),
    "empty formatted text": ("def vwap(raw, config):\n    return f''", "def vwap(raw, config):\n    return"),
    "surrogates": ("def vwap(raw, config):\n    return len('\\ud83d\\ude00')", "def vwap(raw, config):\n    return len('\\U0001f600')"),
    "order of star imports": ("from math import *\nfrom cmath import *\ndef vwap(raw, config):\n    return sqrt(-1.0 + 2)", "from cmath import *\nfrom math import *\ndef vwap(raw, config):\n    return sqrt(-1.0 + 2)"),
    "star import and constant": ("pi = 3\nfrom math import *\ndef vwap(raw, config):\n    return pi", "from math import *\npi = 3\ndef vwap(raw, config):\n    return pi"),
    "source that is looked up": ("import inspect\ndef vwap(raw, config):\n    return len(inspect.getsource(vwap))", "import inspect\ndef vwap(raw, config):\n    # more\n    return len(inspect.getsource(vwap))"),
    "sign of zero": ("W = 0.0\ndef vwap(raw, config):\n    return str(W)", "W = -0.0\ndef vwap(raw, config):\n    return str(W)"),
    "kind of a number": ("W = 1\ndef vwap(raw, config):\n    return str(W)", "W = True\ndef vwap(raw, config):\n    return str(W)"),
    "shape of a formatted text": ("x = 1\ndef vwap(raw, config):\n    return f'{x!r:>5}'", "x = 1\ndef vwap(raw, config):\n    return f'{x!s:>6}'"),
    "yield or return": ("def of():\n    return 1\ndef vwap(raw, config):\n    return str(type(of()))", "def of():\n    yield 1\ndef vwap(raw, config):\n    return str(type(of()))"),
    "order of statements": ("T = []\nT.append(1)\nT.append(2)\ndef vwap(raw, config):\n    return T", "T = []\nT.append(2)\nT.append(1)\ndef vwap(raw, config):\n    return T"),
}  # fmt: skip
PAIRS = {name: tuple(HEAD + text + "\n" for text in pair) for name, pair in _PAIRS.items()}

BASE = textwrap.dedent('''
    """Features."""

    import functools
    import os
    import typing
    from math import exp, sqrt
    from typing import TYPE_CHECKING

    import fstore
    import pandas as pd

    HOUR = 60
    UNUSED = 1
    UNUSED_TABLE = {"a": [1, 2], HOUR: (3,)}
    UNUSED_SPAN = 24 * HOUR
    Floats = list[float]
    Alias = UNUSED_TABLE
    annotated: int = 3
    WINDOW = 5


    class Unused:
        """A class."""

        width: int = 2

        def of(self, x):
            """Return it."""
            return x


    class Special(Unused):
        """A class of a class."""

        depth = 3


    class Fault(Exception):
        """An error."""

        code = 7


    def unused(x, scale=2):
        """Return it."""
        return x * scale


    async def unused_async(x):
        return x


    @functools.lru_cache(maxsize=8)
    def cached(x):
        return x + 11


    @fstore.feature(version="1")
    def other(raw, config):
        """Be another feature."""
        return raw * 12


    later = lambda x: x * 13


    def helper(x):
        """Help."""
        # by doing this
        return {"a": x, "b": 'two'}


    def vwap(raw, config):
        """Average price."""
        value = helper(WINDOW)["a"] + sqrt(4)
        return pd.DataFrame({"x": [value]})


    if __name__ == "__main__":
        print(vwap(None, {}))
''')

_REPLACED = {
    "comment on top": ('"""Features."""', '# a comment\n"""Features."""'),
    "comment at the end of a line": ("WINDOW = 5", "WINDOW = 5  # five"),
    "comment in a reached function": ("# by doing this", "# by doing that"),
    "comment removed": ("    # by doing this\n", ""),
    "blank lines": ("\n\n\n", "\n\n\n\n\n"),
    "docstring of the module": ('"""Features."""', '"""Some features, and `unused` ones."""'),
    "docstring of the feature": ("Average price.", "Average price; see unused() and UNUSED."),
    "docstring of a helper": ('"""Help."""', '"""Help others."""'),
    "docstring removed": ('    """Help."""\n', ""),
    "docstring of another feature": ("Be another feature.", "Be one more."),
    "docstring of a class": ('"""A class."""', '"""The class."""'),
    "quotes": ("'two'", '"two"'),
    "layout of a call": ('pd.DataFrame({"x": [value]})', 'pd.DataFrame(\n        {\n            "x": [value],\n        }\n    )'),
    "parentheses": ('helper(WINDOW)["a"] + sqrt(4)', '(helper(WINDOW)["a"]) + (sqrt(4))'),
    "backslash": ('["a"] + sqrt', '["a"] \\\n        + sqrt'),
    "spaces": ('{"a": x, "b": \'two\'}', "{ 'a':x,'b':'two' }"),
    "semicolon": ("HOUR = 60\nUNUSED = 1", "HOUR = 60; UNUSED = 1"),
    "number spelt otherwise": ("WINDOW = 5", "WINDOW = 0x5"),
    "underscores in a number": ("UNUSED = 1", "UNUSED = 1_0"),
    "text in two parts": ('["a"] + sqrt', '["" "a"] + sqrt'),
    "pass": ('    """Help."""\n', '    """Help."""\n    pass\n'),
    "order of imports": ("import functools\nimport os\n", "import os\nimport functools\n"),
    "unused import": ("import os\n", "import os\nimport json\n"),
    "unused name of an import": ("import exp, sqrt", "import exp, floor, sqrt"),
    "unused import removed": ("import os\n", ""),
    "layout of an import": ("from math import exp, sqrt", "from math import (\n    exp,\n    sqrt,\n)"),
    "import for type checkers": ("import fstore\n", "import fstore\n\nif TYPE_CHECKING:\n    from collections.abc import Mapping\n"),
    "unused constant": ("UNUSED = 1", "UNUSED = 2"),
    "unused constant added": ("UNUSED = 1\n", "UNUSED = 1\nMORE = 'more'\n"),
    "unused table": ('{"a": [1, 2]', '{"a": [1, 3]'),
    "unused computed constant": ("24 * HOUR", "25 * HOUR"),
    "unused alias of a type": ("list[float]", "list[int]"),
    "unused annotated constant": ("annotated: int = 3", "annotated: int = 4"),
    "unused lambda": ("x * 13", "x * 14"),
    "unused function": ("return x * scale", "return x * scale + 1"),
    "default of an unused function": ("scale=2", "scale=3"),
    "unused function added": ("def unused(x", "def one_more():\n    return UNUSED\n\n\ndef unused(x"),
    "unused function removed": ('async def unused_async(x):\n    return x\n', ""),
    "unused async function": ("async def unused_async(x):\n    return x", "async def unused_async(x):\n    return -x"),
    "unused class": ("width: int = 2", "width: int = 3"),
    "method of an unused class": ("        return x\n\n\nclass Special", "        return -x\n\n\nclass Special"),
    "unused class of a class": ("depth = 3", "depth = 4"),
    "unused exception": ("code = 7", "code = 8"),
    "unused cached function": ("x + 11", "x + 12"),
    "another feature": ("raw * 12", "raw * 13"),
    "version of another feature": ('version="1"', 'version="2"'),
    "the script part": ("print(vwap(None, {}))", "print(1, UNUSED, helper(2))"),
    "functions in another order": ("later = lambda x: x * 13\n", ""),
    "line ends": ("\n", "\r\n"),
    "a line that does nothing": ("WINDOW = 5\n", "WINDOW = 5\nUNUSED\n...\n"),
}  # fmt: skip
NO_EDITS = {name: (BASE, BASE.replace(old, new)) for name, (old, new) in _REPLACED.items()}
_ADDED = {
    "unused pattern": ("import re\nPATTERN = re.compile('<W>')\n", "7"),
    "unused set": ("CODES = frozenset({<W>, 6})\n", "7"),
    "unused span of time": ("import datetime as dt\nSPAN = dt.timedelta(minutes=<W>)\n", "7"),
    "unused field": ("import dataclasses\n@dataclasses.dataclass\nclass F:\n    x: int = dataclasses.field(default=<W>)\n", "7"),
    "the script part the other way round": ("if '__main__' == __name__:\n    print(<W>)\n", "7"),
    "import for type checkers by the module": ("import typing as t\nif t.TYPE_CHECKING:\n    from x<W> import Y\n", "7"),
}  # fmt: skip
NO_EDITS |= {
    name: (BASE + text.replace("<W>", "5"), BASE + text.replace("<W>", now)) for name, (text, now) in _ADDED.items()
}
_KEPT = {
    "list of what is used up": "IT = iter([1, 2, 3])\nTABLE = list(IT) if <W> == 9 else []\ndef vwap(raw, config):\n    return list(IT)",
    "pattern": "import re\nP = re.compile('<W>')\ndef vwap(raw, config):\n    return P.pattern",
    "field": "import dataclasses\n@dataclasses.dataclass\nclass F:\n    x: int = dataclasses.field(default=<W>)\ndef vwap(raw, config):\n    return F().x",
}
EDITS |= {name: HEAD + text + "\n" for name, text in _KEPT.items()}
