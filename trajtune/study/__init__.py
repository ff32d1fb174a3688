"""A study: a declared set of cells, run by local processes, one small result file a cell and task."""
