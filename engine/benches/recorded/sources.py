"""Writes a small project in C into a directory: 16 directories, 96 files, and what makes some of them."""

import pathlib
import sys

MODULES = 8
MAKEFILE = """objects := $(patsubst %.c,%.o,$(wildcard module*/*.c)) main.o
program: $(objects)
\tgcc -o $@ $^
%.o: %.c
\tgcc -O1 -c -o $@.tmp $< && mv $@.tmp $@
"""

top = pathlib.Path(sys.argv[1])
(top / "Makefile").write_text(MAKEFILE)
(top / "main.c").write_text("int main(void) { return 0; }\n")
for module in range(MODULES):
    at = top / f"module{module}"
    (at / "include").mkdir(parents=True)
    (at / "module.c").write_text(f"int module{module}(void) {{ return {module}; }}\n")
    for number in range(10):
        (at / "include" / f"header_{number}.h").write_text(f"#define HEADER_{number} {number}\n")
    (at / "README").write_text("About this module.\n")
