// Package acceptance says what the example services promise to those outside,
// and holds any implementation to it: it knows base URLs and HTTP, and where
// it is told of the broker, AMQP, but nothing of code, framework or database.
//
// [Run] serves the tests of the stacks in this repository. To hold services
// that run elsewhere to the same, name them in the environment:
//
//	PULSE_ACCEPTANCE_ORDERS_URL=http://127.0.0.1:6101 \
//	PULSE_ACCEPTANCE_NOTIFICATIONS_URL=http://127.0.0.1:6102 \
//	PULSE_ACCEPTANCE_TOKEN_FILE=/run/secrets/token \
//	PULSE_ACCEPTANCE_AMQP_URL_FILE=/run/secrets/amqp-url \
//	PULSE_ACCEPTANCE_BROKER_STOP_CMD='docker-compose stop rabbitmq' \
//	PULSE_ACCEPTANCE_BROKER_START_CMD='docker-compose start rabbitmq' \
//	go test -count=1 -v ./examples/acceptance
//
// The token is for services that ask who calls. Without the last three, what needs them is skipped, and says so. The suite
// places some hundred orders for customers named acceptance-..., and stops the
// broker where it can: it is for development and staging.
//
// # The contract
//
//   - POST /orders {"customerId", "amount"} answers 201 with exactly orderId,
//     eventId and correlationId. x-correlation-id is taken over or made, and
//     answered in the header.
//   - GET /orders/{id} and GET /orders?limit= show orders, the newest first.
//   - GET /notifications?orderId= answers an array: one element per event
//     however often its message came, none before.
//   - What is refused is answered {"error": {"code", "message", "fields":
//     [{"field", "message"}]}}. 400 names every bad field (invalid_order,
//     invalid_request, malformed_json, body_too_large); 404 (not_found,
//     order_not_found); 405 with Allow (method_not_allowed); 422 for an
//     Idempotency-Key that belongs to another order (idempotency_key_reused).
//   - Where callers are asked for a token, all but health needs one: 401
//     (unauthorized) without a valid one, 403 (forbidden) for what its scopes or
//     its customer do not allow. Both are problem documents (RFC 9457) with
//     WWW-Authenticate, and with the error as a member. What belongs to another
//     customer is not there.
//   - The same Idempotency-Key gets the same answer, and there is one order.
//   - GET /health/live is about the process, GET /health/ready about the
//     database. While the broker is away orders is ready, and shows its relay
//     as degraded.
//   - The event is published through the exchange pulse.events as
//     order.created, as testdata/contracts/order.created.json shows it.
package acceptance
