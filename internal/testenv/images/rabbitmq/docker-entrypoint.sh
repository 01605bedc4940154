#!/usr/bin/env bash
# Starts RabbitMQ by the conventions of the official image: as the user
# rabbitmq, with settings from /etc/rabbitmq/conf.d. RABBITMQ_DEFAULT_USER and
# RABBITMQ_DEFAULT_PASS are RabbitMQ's own.
set -euo pipefail

if [[ ${1:-} == rabbitmq* && $(id -u) == 0 ]]; then
	if [[ $1 == rabbitmq-server ]]; then
		find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq {} +
	fi
	exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi
exec "$@"
