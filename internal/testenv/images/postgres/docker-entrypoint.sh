#!/usr/bin/env bash
# Starts PostgreSQL by the conventions of the official image: POSTGRES_USER,
# POSTGRES_PASSWORD (or _FILE), POSTGRES_DB (or _FILE), POSTGRES_INITDB_ARGS,
# PGDATA, and the scripts in /docker-entrypoint-initdb.d when the data
# directory is new.
set -euo pipefail

if [[ ${1:-} == -* ]]; then
	set -- postgres "$@"
fi
if [[ ${1:-} != postgres ]]; then
	exec "$@"
fi

# setting takes a variable from the file that its _FILE names, or a default.
setting() {
	local name=$1 default=${2:-} file=${1}_FILE
	if [[ -n ${!name:-} && -n ${!file:-} ]]; then
		echo "error: $name and $file are both set" >&2
		exit 1
	fi
	if [[ -n ${!file:-} ]]; then
		export "$name=$(<"${!file}")"
	elif [[ -z ${!name:-} ]]; then
		export "$name=$default"
	fi
	unset "$file"
}
setting POSTGRES_PASSWORD
setting POSTGRES_USER postgres
setting POSTGRES_DB "$POSTGRES_USER"

if [[ $(id -u) == 0 ]]; then
	install -d -o postgres -g postgres -m 700 "$PGDATA"
	install -d -o postgres -g postgres -m 2775 /var/run/postgresql
	find "$PGDATA" \! -user postgres -exec chown postgres {} +
	export HOME=/var/lib/postgresql
	exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

query() {
	psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" "$@"
}

initialize() {
	local script
	if [[ -z $POSTGRES_PASSWORD ]]; then
		echo 'error: neither POSTGRES_PASSWORD nor POSTGRES_PASSWORD_FILE is set' >&2
		exit 1
	fi
	# shellcheck disable=SC2086 # these are words
	initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") ${POSTGRES_INITDB_ARGS:-}
	printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"

	# Nobody else gets in while the scripts run: this server has a socket only.
	export PGPASSWORD=$POSTGRES_PASSWORD
	pg_ctl --pgdata="$PGDATA" --wait --options="-c listen_addresses=''" start
	if [[ $POSTGRES_DB != postgres ]]; then
		query --dbname=postgres --set=db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
	fi
	for script in /docker-entrypoint-initdb.d/*; do
		echo "$0: $script"
		case $script in
		*.sql) query --dbname="$POSTGRES_DB" --file="$script" ;;
		*.sh)
			if [[ -x $script ]]; then
				"$script"
			else
				# shellcheck disable=SC1090
				. "$script"
			fi
			;;
		esac
	done
	pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
	unset PGPASSWORD
}

if [[ ! -s $PGDATA/PG_VERSION ]]; then
	initialize
fi
exec "$@"
