import sys

from contrafact.cli import main

sys.exit(main())
