"""Verifies the applicant's identity or address."""

import re
import sys

APPLICANT = {"ssn": "123-45-6789", "email": "jane@example.com", "street": "1 Example Street", "city": "Seattle", "zip": "98101"}
RULES = {
    "identity": {"ssn": r"\d{3}-\d{2}-\d{4}", "email": r"[^@ ]+@[^@ ]+\.[a-z]+"},
    "address": {"street": r".+", "city": r".+", "zip": r"\d{5}"},
}
wrong = [field for field, rule in RULES[sys.argv[1]].items() if not re.fullmatch(rule, APPLICANT[field])]
if wrong:
    sys.exit(f"{sys.argv[1]}: {', '.join(wrong)} is not valid")
print(f"{sys.argv[1]} is verified")
