# Every target stands alone: `make run` needs nothing but Go and make.
GO       ?= go
BIN      := bin/baedal
CI_ORDERS ?= 500
ROUNDS   ?= 6
DAY      ?= sim/testdata/day
BROKERS  ?= 127.0.0.1:9092
API      ?= http://127.0.0.1:8080
CHAOS    ?=

# The packages whose tests use a broker. One after another: they would slow each other down on few cores.
WITH_BROKER = $(shell $(GO) list -f '{{$$p := .ImportPath}}{{range .XTestImports}}{{if eq . "baedal/internal/kafkatest"}}{{$$p}} {{end}}{{end}}{{range .TestImports}}{{if eq . "baedal/internal/kafkatest"}}{{$$p}} {{end}}{{end}}' ./...)

.DEFAULT_GOAL := help
.PHONY: help run build test race lint integration kafka load load-http schemathesis tour generate replay bench bench-rounds chaos chaos-short chaos-long chaos-planted chaos-build ci clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Run everything in one process with its own broker, and simulated people
	exec $(BIN) up --demo

build: ## Build bin/baedal
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/baedal

test: ## Run the tests that are quick
	$(GO) test -short -parallel 8 ./...

# What runs in one goroutine, its tests too, has no races to detect.
race: ## Run the quick tests with the race detector
	CGO_ENABLED=1 $(GO) test -race -short $$($(GO) list ./... | grep -vE '^baedal/(domain|domain/(decided|dispatch|notification|order|projection|rider|stock|town)|codecs|topics|internal/unpack)$$')

lint: ## Check formatting and what go vet and staticcheck find
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt -w these:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags chaos ./...
	$(GO) tool staticcheck ./...

integration: ## Run whole flows against the embedded broker, and BAEDAL_TEST_KAFKA where set
	$(GO) test -count=1 -timeout 10m -p 1 -parallel 4 $(WITH_BROKER)

kafka: ## The same against a real Kafka, which is started and stopped (needs Java and Maven)
	BAEDAL_TEST_ONLY_KAFKA=1 deploy/kafka.sh run -- $(MAKE) integration

load: build ## Simulated people place CI_ORDERS orders at BROKERS (make run first)
	$(BIN) load --brokers $(BROKERS) --orders $(CI_ORDERS)

load-http: build ## The same over HTTP at API
	$(BIN) load --over-http $(API) --orders $(CI_ORDERS)

schemathesis: ## Let schemathesis look for a minute for what API does otherwise than openapi.yaml says (needs Python)
	deploy/schemathesis/run.sh $(API)

tour: ## Paste every line of docs/tour.md (needs curl, kcat, and Python with confluent-kafka for one stop)
	TOUR=1 $(GO) test -count=1 -v -run '^TestTour$$' ./cmd/baedal

generate: ## Make the client from openapi.yaml anew
	$(GO) generate ./client

replay: build ## Replay the recorded day in DAY at BROKERS (make run first)
	$(BIN) replay $(DAY) --brokers $(BROKERS) --speed 1000

bench: build ## Run the benchmarks, then ROUNDS times the engine against plain goka, on Kafka too where Java is
	deploy/load_http.sh $(BIN)
	$(GO) test -run '^$$' -bench . -skip '^BenchmarkProcessor$$' -benchmem ./...
	$(GO) test -c -o bin/stream.test ./stream
	@if [ -n "$$BAEDAL_TEST_KAFKA" ]; then $(MAKE) --no-print-directory bench-rounds; \
	elif command -v java >/dev/null && deploy/kafka.sh fetch; then deploy/kafka.sh run -- $(MAKE) --no-print-directory bench-rounds; \
	else echo "SKIPPED: no comparison on Kafka, it needs Java 17 and Maven, or BAEDAL_TEST_KAFKA=host:port"; $(MAKE) --no-print-directory bench-rounds; fi
	@echo "Medians of $(ROUNDS) rounds; +30% of records/s is 1.3 times plain goka's, p above 0.05 may be chance:"
	@$(GO) tool benchstat -alpha 1 -row /broker -col '/engine@(goka at-least-once exactly-once)' bin/bench.txt

# A round runs every engine once in a process of its own. Before the first, a Kafka that has just started is warmed up.
PROCESSOR = bin/stream.test -test.run '^$$' -test.benchtime 1x -test.timeout 5m -test.bench
bench-rounds:
	@printf 'Unit records/s better=higher\nUnit cpu-ms/1000-records better=lower\n' >bin/bench.txt
	@if [ -n "$$BAEDAL_TEST_KAFKA" ]; then echo "warming up, not counted:" && $(PROCESSOR) '^BenchmarkProcessor$$/broker=kafka'; fi
	@set -e; for round in $$(seq $(ROUNDS)); do $(PROCESSOR) '^BenchmarkProcessor$$' >bin/round.txt || { cat bin/round.txt; exit 1; }; \
	  tee -a bin/bench.txt <bin/round.txt; done

chaos: chaos-build ## Break everything under load; CHAOS='-broker kafka -seed 7 -rounds 20' and so on
	bin/chaos $(CHAOS)

chaos-short: chaos-build ## The same in a minute, on the embedded broker
	bin/chaos -faults kill-at,linger-at,kill-recovering,wipe -rounds 4 $(CHAOS)

chaos-long: chaos-build ## The same for an hour on a real Kafka
	bin/chaos -broker kafka -duration 1h $(CHAOS)

chaos-planted: chaos-build ## Check the suite itself: it must find every bug of chaos/planted (needs Java and Maven)
	GO=$(GO) bin/chaos -planted $(CHAOS)

chaos-build:
	CGO_ENABLED=0 $(GO) build -tags chaos -o bin/baedal-chaos ./cmd/baedal
	CGO_ENABLED=0 $(GO) build -o bin/chaos ./chaos

ci: ## What continuous integration runs
	.ci/run

clean: ## Remove what was built; data stays
	rm -rf bin
