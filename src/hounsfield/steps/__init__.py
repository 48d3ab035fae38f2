"""The verbs of the path, one a file: scan gather audit design prepare fit predict evaluate explain report."""
