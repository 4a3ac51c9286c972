# make run          try it: build, start gatepost-milter on the example policy, show its verdicts
# make test         everything that needs no Docker, with the race detector
# make integration  real sendmail and Postfix in containers (root, Docker)
# make differential decisions of real sendmail on generated policies (root): SEED=, SESSIONS=

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.7.0
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Without what nobody needs of libraries: man pages out of flags, HTTP/2 for /metrics.
TAGS        := urfave_cli_no_docs nethttpomithttp2
PROGRAMS    := gatepost-milter gatepost-relay gatepost

.PHONY: build run test check fuzz bench bench-dns bench-relay bench-queue integration differential clean FORCE

build:
	@for p in $(PROGRAMS); do \
		echo "building bin/$$p"; \
		CGO_ENABLED=0 $(GO) build -tags '$(TAGS)' -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/$$p ./cmd/$$p || exit 1; \
	done

run: build bin/try
	@bin/try

bin/try: FORCE
	@$(GO) build -o $@ ./examples/try

test: check
	$(GO) test -race ./...

# What a tool can check.
check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:" $$unformatted; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags integration ./...
	$(GO) run $(STATICCHECK) ./...

# Ten seconds for each fuzz target.
fuzz:
	@for d in $$($(GO) list -f '{{.Dir}}' ./...); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$d/*_test.go 2>/dev/null | sed 's/func //'); do \
			echo "$$d $$f"; (cd $$d && $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 10s -fuzzminimizetime 5x .) || exit 1; \
		done; \
	done

# Go benchmarks, then a million lines beside libdb and tinycdb (needs cc, and their
# headers or apt-get).
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./policy ./maps ./milter ./relay/session
	$(GO) run ./bench/tables

# Questions about a DNS list, beside a socket for each query (needs rbldnsd or apt-get).
bench-dns:
	$(GO) run ./bench/dns

# gatepost-relay from end to end; -also HOST:PORT has another relay take turns with it.
bench-relay: build
	$(GO) run ./bench/relay

# Dead destinations among live ones, a start with 100,000 queued, memory. Needs root.
bench-queue: build
	$(GO) run ./bench/relay -backlog

integration: build
	integration/run.sh

differential:
	SEED=$(SEED) SESSIONS=$(SESSIONS) integration/differential/run.sh

clean:
	rm -rf bin run
