#!/usr/bin/env python3
"""Changes orders, each with the event that tells of it, in one transaction: orders.py PREFIX COUNT

Needs psycopg 3 (python3-psycopg in Debian). Prints the ids of the events that were committed.
"""
import json
import os
import sys
import uuid

import psycopg
from psycopg.types.json import Jsonb


def change_order(conn, order_id, correlation_id):
    """Changes an order in the caller's transaction, and returns the id of its event."""
    # Locks the order until the end of the transaction: events of one order get their place in the order of commits.
    (version,) = conn.execute(
        "INSERT INTO orders (id, version) VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET version = orders.version + 1 RETURNING version",
        (order_id,),
    ).fetchone()
    event_id = uuid.uuid4()  # or uuid.uuid7(), from Python 3.14 on
    event = {"eventId": str(event_id), "orderId": order_id, "version": version, "note": "a\\b\nü"}
    conn.execute(
        "INSERT INTO outbox_messages (id, topic, type, key, payload, headers, correlation_id) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        # Bytes, not str: a text would be read as bytea's escape format.
        (event_id, "order.changed", "OrderChanged", order_id, json.dumps(event).encode(), Jsonb({"tenant": "acme"}), correlation_id),
    )
    return event_id


def main():
    prefix, count = sys.argv[1], int(sys.argv[2])
    with psycopg.connect(os.environ["PULSE_OUTBOX_DB"], autocommit=True) as conn:
        for n in range(count):
            order_id = f"{prefix}-{n % 7}"
            with conn.transaction() as tx:
                event_id = change_order(conn, order_id, f"checkout-{order_id}")
                if n % 3 == 2:
                    raise psycopg.Rollback(tx)
            if n % 3 != 2:
                print(event_id)


if __name__ == "__main__":
    main()
