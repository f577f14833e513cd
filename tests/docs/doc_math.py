"""Reads the formulas of the documents as MathJax would: known commands, arguments, scripts, braces, environments."""

import re

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[^\\]", re.DOTALL)
ENVIRONMENTS = {"aligned", "alignedat", "gathered", "split", "cases", "matrix", "pmatrix", "bmatrix", "vmatrix",
                "smallmatrix", "array"}
ARGUMENTS = {"frac": 2, "dfrac": 2, "tfrac": 2, "binom": 2, "sqrt": 1, "text": 1, "textbf": 1, "textit": 1, "mathrm": 1,
             "mathbf": 1, "mathit": 1, "mathcal": 1, "mathbb": 1, "mathsf": 1, "mathtt": 1, "boldsymbol": 1, "hat": 1,
             "widehat": 1, "bar": 1, "overline": 1, "underline": 1, "tilde": 1, "widetilde": 1, "vec": 1, "dot": 1,
             "underbrace": 1, "overbrace": 1, "underset": 2, "overset": 2, "stackrel": 2, "substack": 1, "boxed": 1,
             "phantom": 1, "xrightarrow": 1, "cancel": 1, "color": 1, "mathop": 1, "tag": 1, "big": 1, "Big": 1,
             "bigl": 1, "bigr": 1, "Bigl": 1, "Bigr": 1, "biggl": 1, "biggr": 1, "not": 1}
SYMBOLS = set("""alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau
    upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega partial nabla infty ell prime
    sum prod int lim max min sup inf log ln exp sin cos tan tanh sinh cosh det arg Pr limits nolimits
    cdot times odot oplus otimes div pm mp ast star circ bullet top bot mid parallel perp
    le leq ge geq ne neq lt gt ll gg approx equiv sim simeq propto in notin ni subset subseteq cup cap emptyset
    forall exists neg land lor to gets mapsto rightarrow leftarrow Rightarrow Leftarrow leftrightarrow Leftrightarrow
    longrightarrow longmapsto Longrightarrow iff implies uparrow downarrow
    ldots cdots vdots ddots dots quad qquad langle rangle lfloor rfloor lceil rceil lvert rvert lVert rVert vert Vert
    displaystyle textstyle scriptstyle hline square checkmark""".split())
ESCAPES = set("\\,;:! {}%#&_$|")
DELIMITERS = set("()[]|./<>") | {"\\{", "\\}", "\\|"} | {f"\\{name}" for name in (
    "langle rangle lfloor rfloor lceil rceil lvert rvert lVert rVert vert Vert").split()}
OPEN, IN_ROWS = "open", "rows"  # where a list of tokens stands: rows know & and \\


class Formula:
    """One formula; `faults` is what MathJax would not take, or would take for something else."""

    def __init__(self, text):
        self.tokens = [token for token in TOKEN.findall(text) if not token.isspace()]
        self.at, self.faults = 0, []
        if not self.tokens:
            self.faults.append("the formula is empty")
        self.faults += [f"{char!r} is not ASCII: write its command" for char in sorted(set(text)) if not char.isascii()]
        while self.at < len(self.tokens):
            self.atoms(OPEN)
            if self.at < len(self.tokens):
                self.faults.append(f"{self.tokens[self.at]} closes nothing")
                self.at += 1

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1] if self.at <= len(self.tokens) else ""

    def atoms(self, where):
        """Atoms with their scripts, up to what closes the list."""
        scripts = set()
        while (token := self.peek()) and token not in ("}", "\\right", "\\end"):
            if token in "^_":
                self.take()
                if token in scripts:
                    self.faults.append(f"double {token}")
                scripts.add(token)
                self.argument(token)
            else:
                scripts = {"^"} if token == "'" else set()  # a prime is a superscript
                self.atom(where)

    def atom(self, where):
        token = self.take()
        if token == "{":
            self.atoms(OPEN)
            self.expect("}")
        elif token in ("&", "\\\\"):
            if where != IN_ROWS:
                self.faults.append(f"{token} outside of rows")
        elif token == "\\left":
            self.pair()
        elif token == "\\begin":
            self.environment()
        elif token.startswith("\\"):
            self.command(token[1:])
        elif token in "$#%`":
            self.faults.append(f"bare {token}")

    def command(self, name):
        if name in ("text", "textbf", "textit", "tag", "color"):
            self.word()
        elif name in ARGUMENTS:
            if name == "sqrt" and self.peek() == "[":
                while self.peek() not in ("]", ""):
                    self.take()
                self.expect("]")
            for _ in range(ARGUMENTS[name]):
                self.argument("\\" + name)
        elif name not in SYMBOLS and name not in ESCAPES:
            self.faults.append(f"unknown command \\{name}")

    def argument(self, of):
        token = self.peek()
        if not token or token in ("}", "^", "_", "&", "\\\\", "\\right", "\\end"):
            self.faults.append(f"{of} lacks an argument")
        else:
            self.atom(OPEN)

    def pair(self):
        """\\left( ... \\right), which no & and no \\\\ may part."""
        self.delimiter("\\left")
        self.atoms(OPEN)
        self.expect("\\right")
        self.delimiter("\\right")

    def delimiter(self, of):
        if (token := self.take()) not in DELIMITERS:
            self.faults.append(f"{of} lacks a delimiter, has {token or 'nothing'}")

    def environment(self):
        name = self.word()
        if name not in ENVIRONMENTS:
            self.faults.append(f"unknown environment {name}")
        if name in ("array", "alignedat"):
            self.word()
        self.atoms(IN_ROWS)
        self.expect("\\end")
        if (end := self.word()) != name:
            self.faults.append(f"\\begin{{{name}}} ends as {end or 'nothing'}")

    def word(self):
        """The text between two braces, unread."""
        self.expect("{")
        found = []
        while self.peek() not in ("}", "{", ""):
            found.append(self.take())
        self.expect("}")
        return "".join(found)

    def expect(self, token):
        if self.peek() == token:
            self.take()
        else:
            self.faults.append(f"{token} expected, {self.peek() or 'the end'} found")


def faults(formula):
    """What is wrong with a formula, in words; an empty list where nothing is."""
    return Formula(formula).faults
