"""Entry of fastvmt: ``python run.py --help``."""

from fastvmt.main import main

if __name__ == "__main__":
    main()
