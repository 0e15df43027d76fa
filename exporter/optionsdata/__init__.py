"""Options data: what an exporter tells of itself (RFC 7011 section 4, PSAMP, RFC 5610). Pure; session.py sends it.

figures.py has the values, templates.py the layouts, encoding.py makes records of both. The other files are one subject
each: functions from (figures, observation domain) to records. kinds.py lists them, and says when each goes out.
"""
