"""Joins customers, policies and claims into the rows of the warehouse, and rejects orphans.

Writes dim_customer, dim_policy and fact_claims to <work>/<date>/<table>.jsonl, orphans to rejects/transform.jsonl.
"""

from __future__ import annotations

import etl


def join(
    parents: dict[str, etl.Row], children: list[etl.Row], parent: str, source: str, inherit: list[str]
) -> tuple[list[etl.Row], list[etl.Row]]:
    """Gives every child the columns `inherit` of its parent; returns the children that have one, and rejects."""
    joined: list[etl.Row] = []
    orphans: list[etl.Row] = []
    for child in children:
        found = parents.get(child[f"{parent}_id"])
        if found is None:
            orphans.append({"source": source, "line": child["line"], "reason": f"unknown_{parent}", "row": child})
        else:
            joined.append({**child, **{column: found[column] for column in inherit}})
    return joined, orphans


def transform() -> None:
    """Joins the staged sources of the business date."""
    day = etl.work_dir() / etl.business_date()
    customers, policies, claims = (
        etl.read_jsonl(day / f"{name}.jsonl") for name in ("customers", "policies", "claims")
    )
    etl.report(metrics={"records_in": len(customers) + len(policies) + len(claims)})

    etl.pause()

    by_customer = {row["customer_id"]: row for row in customers}
    dim_policy, lost_policies = join(by_customer, policies, "customer", "policies", ["region"])
    by_policy = {row["policy_id"]: row for row in dim_policy}
    inherit = ["customer_id", "region", "product"]
    fact_claims, lost_claims = join(by_policy, claims, "policy", "claims", inherit)
    for claim in fact_claims:
        claim["month"] = claim["claim_date"][:7]

    rejects = lost_policies + lost_claims
    tables = {"dim_customer": customers, "dim_policy": dim_policy, "fact_claims": fact_claims}
    etl.write_jsonl(day / "rejects" / "transform.jsonl", rejects)
    for name, rows in tables.items():
        etl.write_jsonl(day / f"{name}.jsonl", ({k: v for k, v in row.items() if k != "line"} for row in rows))
    written = sum(len(rows) for rows in tables.values())
    etl.report(metrics={"records_out": written, "records_rejected": len(rejects)}, output={"path": str(day.resolve())})
    print(f"transform: {written} rows written, {len(rejects)} orphans rejected")


if __name__ == "__main__":
    etl.main(transform)
