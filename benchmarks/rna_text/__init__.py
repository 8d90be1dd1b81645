"""RNA and reports: records from RNA, RNA from reports, and both together; see docs/text.md."""
