# Targets with a text after ## are listed by make alone.

# Three packages at a time, four tests of each, also where there are fewer cores:
# most tests wait for servers and clocks. make vet is a target of its own.
TESTFLAGS ?= -p 3 -parallel 4 -vet=off -timeout 20m
# The race detector needs a C compiler.
RACE ?= $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)
PKG ?= ./...
# Those that take longest begin first, so that none of them is left alone at the end.
LONGEST = ./outbox ./inbox ./internal/faults
# Where the race detector has nothing to find: pulsectl is run as a program, again and
# again, and its packages have tests of their own; compat computes in one goroutine.
WITHOUT_RACE = ./pulsectl ./pulsectl/internal/compat

# Random schedules of make model.
SCHEDULES ?= 1000000

BENCH ?= .
BENCHTIME ?= 1x
BENCHFLAGS ?= -p 1 -timeout 60m -benchmem

# Tests of what needs a service fail where it is missing. Empty: they skip.
PULSE_TEST_REQUIRE ?= postgres,rabbitmq,modules
export PULSE_TEST_REQUIRE

# Tests that run against containers: an outage on both stacks, brokers and
# databases that are stopped and killed, docker-compose.yml, and pulsectl with it.
CONTAINER_TESTS = Acceptance|F1B|F2B|F11|Compose|ServerKeepsDurableData
CONTAINER_PKG = ./internal/testenv ./internal/faults ./examples/... ./pulsectl

# RERUN=DIR runs a test that failed once more, and reports it to a file in DIR.
# A test that fails twice, panics or has a data race fails all the same.
RERUN ?=
GOTESTSUM = go run gotest.tools/gotestsum@v1.13.0 --format standard-quiet --hide-summary skipped
# $(call go-test,FLAGS,PACKAGES)
go-test = $(if $(RERUN),$(GOTESTSUM) --rerun-fails=1 --rerun-fails-max-failures 5 --rerun-fails-run-root-test \
	--rerun-fails-abort-on-data-race --rerun-fails-report "$$(mktemp $(RERUN)/XXXXXX)" --packages '$(2)' -- $(1),go test $(1) $(2))

STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
GOSEC = go run github.com/securego/gosec/v2/cmd/gosec@v2.30.0
# Rules that are off, after each of their findings was looked at (27 November 2026): G104, unhandled errors
# of hashes, or of buffers, which repeat them; G115, conversions of integers, in codecs and counters whose
# values are bounded or checked before; G204, G304, G702, G703, a command line runs and reads what its user
# names; G404, random numbers for jitter, ports and seeds: secrets are crypto/rand's; G602, lists of pairs.
GOSEC_OFF = G104,G115,G204,G304,G404,G602,G702,G703
# Off in some files: G101 takes names for passwords; G117, the owner's files that hold addresses with
# passwords; G124, the attribute Secure follows the connection; G203 and G705, HTML that is
# escaped by hand; G301, G302, G306, files that servers of other users read, or that are committed; G401 and G501, MD5
# as PostgreSQL's hash of a bucket; G402, a probe of its own address; G407, a cipher that
# chooses nonces itself.
GOSEC_OFF_IN = examples/auth/environment.go:G101 pulsectl/internal/chaos/kinds.go:G101 \
	(internal/testenv|internal/baotest|examples/internal/exampletest)/:G101,G301,G302,G306 \
	(examples/compose/credentials|pulsectl/internal/stack)/:G117 pulsectl/internal/page/:G101,G124,G203,G705 \
	(internal/dashboards|internal/kubeschema|pulsectl/internal/command/contract)/:G301,G306 outbox/bucket.go:G401,G501 outbox/wire/seal/:G407 examples/internal/program/:G402
space = $() $()

KUBECONFORM = go run github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
# The version of Kubernetes that the manifests are checked for.
KUBERNETES = v1.34.2

# Modules with dependencies that the main module does not have.
NESTED = internal/testenv/server internal/uitest examples/databases internal/bench/peers

VERSION ?= $(shell git describe --tags --always --dirty)
LDFLAGS = -X github.com/asimalizada/pulse-events/pulsectl/internal/command.Version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help test faults-long model contract-proofs asyncapi test-containers broker-suites bench bench-peers chaos chaos-services compat build fmt vet lint vulnerabilities security cross-build release release-check tidy static check install-producers manifests install-services services clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: services ## run all tests on real services (PKG=./outbox/... for some)
	$(if $(filter ./...,$(PKG)),$(call go-test,$(TESTFLAGS),$(WITHOUT_RACE)))
	$(call go-test,$(RACE) $(TESTFLAGS),$(if $(filter ./...,$(PKG)),$(LONGEST) $(filter-out $(shell go list $(WITHOUT_RACE)),$(shell go list ./...)),$(PKG)))
	@set -e; [ '$(PKG)' = ./... ] || exit 0; for dir in $(filter-out internal/bench/peers,$(NESTED)); do (cd $$dir && $(call go-test,$(TESTFLAGS),./...)); done

test-containers: export PULSE_TEST_REQUIRE = postgres,rabbitmq,docker
test-containers: services ## run tests that stop servers, and docker-compose.yml, in containers; needs Docker
	$(call go-test,-count=1 -p 1 -timeout 20m -run '$(CONTAINER_TESTS)',$(CONTAINER_PKG))

# The regular expression leaves out what make test runs as well.
faults-long: services ## run the faults that take minutes: RabbitMQ clusters, rolling restarts, full disks (FAULTS=F30)
	go test -count=1 -parallel 1 -timeout 120m -v -run '$(or $(FAULTS),F30|F32Broker|F33)' ./internal/faults -long

model: ## explore a model of the protocol further than its tests do, for minutes (SCHEDULES=1000000)
	go test -count=1 -timeout 120m -v ./internal/model -run 'EveryInterleaving|RandomSchedules' -deep -seed 0 -schedules $(SCHEDULES)

contract-proofs: ## try to refute what the checker of contracts has proven, with random schemas and documents (SCHEDULES=1000)
	go test -count=1 -timeout 120m -v ./pulsectl/internal/compat -run NoDocument -rapid.checks $(if $(filter command,$(origin SCHEDULES)),$(SCHEDULES),1000)

# The parser that @asyncapi/cli validates with. 168 packages, 54 MB.
ASYNCAPI_PARSER = @asyncapi/parser@3.6.6
asyncapi: ## check the documents of pulsectl contract asyncapi by AsyncAPI's parser; installs it from npm
	@set -e; modules=$$(mktemp -d); trap 'rm -r "$$modules"' EXIT; \
	npm install --prefix "$$modules" --no-audit --no-fund --loglevel=error $(ASYNCAPI_PARSER); \
	PULSE_ASYNCAPI_MODULES="$$modules/node_modules" go test -count=1 -v ./pulsectl/internal/asyncapi -run Parser

broker-suites: ## run the suites of AMQP clients against the development broker and RabbitMQ (as root; SUITES="pika nestjs" BROKERS=devbroker)
	pulsectl/devbroker/suites/run $(SUITES)

compat: ## run the suites on other versions of RabbitMQ and PostgreSQL (as root, hours; COMPAT="rabbitmq-4.3 postgres-18")
	.ci/compat $(COMPAT)

ui-test: ## test the web page in Chromium
	cd internal/uitest && PULSE_TEST_REQUIRE=chromium go test -count=1 -timeout 10m ./...

ui-shots: ## make the pictures of the web page in docs/ui; needs Chromium and pngquant
	cd internal/uitest && PULSE_UI_SHOTS=1 PULSE_TEST_REQUIRE=chromium go test -count=1 -timeout 10m ./...
	pngquant --force --ext .png --skip-if-larger --strip 64 docs/ui/*.png

bench: services ## run the benchmarks on real services (BENCH=regexp BENCHTIME=1x PKG=./...)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) $(BENCHFLAGS) $(PKG)

# Where the results of bench-peers go, and the chart that is drawn from them.
RESULTS ?= docs/peers.json
bench-peers: services ## measure beside Watermill and River, in turns, and draw docs/peers.svg (TURNS=5)
	cd internal/bench/peers && go test -count=1 -run '^$$' -bench . -benchtime 1x -timeout 60m -turns $(or $(TURNS),5) -results '$(abspath $(RESULTS))'
	go run ./internal/bench/chart < '$(RESULTS)' > '$(RESULTS:.json=.svg)'
	go run ./internal/bench/chart -table < '$(RESULTS)'

chaos: build ## attack a system of its own with random faults for an hour (CHAOS="--seed 1 --duration 2m")
	bin/pulsectl chaos run $(or $(CHAOS),--duration 1h)

chaos-services: build services ## the same on a PostgreSQL and a RabbitMQ that it starts, and stops at random
	go run ./internal/testenv/with -- bin/pulsectl chaos run --target external $(or $(CHAOS),--duration 1h --rate 50/s --settle 10m)

build: ## build bin/pulsectl
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/pulsectl ./pulsectl

fmt: ## format all Go files
	gofmt -w .

vet: ## report what go vet finds
	go vet ./...
	@set -e; for dir in $(NESTED); do (cd $$dir && go vet ./...); done

lint: vet ## report unformatted files and what go vet and staticcheck find
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt does it):"; echo "$$unformatted"; exit 1; fi
	$(STATICCHECK) ./...
	@set -e; for dir in $(NESTED); do (cd $$dir && $(STATICCHECK) ./...); done

vulnerabilities: ## report known vulnerabilities that the code reaches (asks vuln.go.dev)
	$(GOVULNCHECK) ./...

security: ## report what gosec finds
	$(GOSEC) -quiet -exclude '$(GOSEC_OFF)' -exclude-rules '$(subst $(space),;,$(strip $(GOSEC_OFF_IN)))' $(addprefix -exclude-dir ,$(NESTED)) ./...

cross-build: ## compile everything, tests too, for Windows and macOS
	GOOS=windows go vet ./...
	GOOS=darwin go vet ./...

release: ## build archives, packages, SBOMs and checksums of pulsectl in bin/release (SYSTEMS="linux/amd64 darwin/arm64")
	.ci/release bin/release $(SYSTEMS)

release-check: release ## build them again from a clone in another directory, without Go's cache, and compare
	@set -e; copy=$$(mktemp -d); trap 'chmod -R u+w "$$copy"; rm -rf "$$copy"' EXIT; \
	git clone --quiet . "$$copy/again"; \
	GOCACHE="$$copy/cache" "$$copy/again/.ci/release" "$$copy/release" $(SYSTEMS); \
	diff bin/release/checksums.txt "$$copy/release/checksums.txt"; echo "the same files twice"

tidy: ## bring go.mod and go.sum in line with the imports
	go mod tidy
	@set -e; for dir in $(NESTED); do (cd $$dir && go mod tidy); done

manifests: ## check the manifests for Kubernetes by kubeconform, with schemas made from the module k8s.io/kubernetes
	@set -e; schemas=$$(mktemp -d); trap 'rm -r "$$schemas"' EXIT; \
	go run ./internal/kubeschema -version $(KUBERNETES) -out "$$schemas"; \
	$(KUBECONFORM) -strict -summary -schema-location "$$schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json" examples/relay/kubernetes

static: lint manifests ## run all checks that run nothing: format, vet, staticcheck, manifests, modules
	go mod tidy -diff
	@set -e; for dir in $(NESTED); do (cd $$dir && go mod tidy -diff); done

check: static ## run all checks that a change has to pass, tests last
	@$(MAKE) --no-print-directory test

install-services: ## install PostgreSQL and RabbitMQ for the tests (Debian, Ubuntu; as root)
	.ci/install-services

install-producers: ## install psycopg, pg and the schemas of AsyncAPI for tests (Debian, Ubuntu; as root)
	.ci/install-producers

# Prints which servers the tests will use, or what is missing.
services:
	@go run ./internal/testenv/sources

clean: ## delete build results
	rm -rf bin
