"""Who may call the API, what for, and the record of it.

Pure: ``identity`` (who a caller is), ``tokens`` (the file of bearer tokens), ``policy`` (roles, and
where they hold), ``needs`` (what each method asks for). ``guard`` puts them together for the
server, which alone calls it; ``audit_log`` says where the record goes.
"""
