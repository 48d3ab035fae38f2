"""`python -m hounsfield …` is `hu …`; so torchrun starts it: `torchrun --nproc-per-node 2 -m hounsfield
train …`.
"""

from hounsfield.cli.main import main

main()
