def write_report(f): pass
