"""edgebench: which build of this language model should run on that device?"""

__version__ = "0.2.0"
