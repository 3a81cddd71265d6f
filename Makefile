# Everything a developer needs. `make demo` is for those who want to see it.
GO      ?= go
FUZZTIME ?= 10s
# go test runs packages in parallel; on small machines engines need the rest.
# What looks at the clock under load has the machine to itself.
TIMED   = /ha$$
UNIT    = ./api/... ./cmd/... ./demo/... ./internal/...

.PHONY: FORCE build generate setup setup-tests demo demo-down check test test-unit test-integration bench fuzz clean

build:
	$(GO) build -o bin/skep ./cmd/skep

# Go from the .proto files; needs Debian's protobuf-compiler.
generate:
	api/generate.sh

# Installs Docker Engine from the distribution where it is missing.
setup:
	scripts/setup.sh

# ... and the stores that tests start.
setup-tests:
	scripts/setup.sh tests

# Real engines where they can run, else simulated ones; the demo says which and
# why. DEMO=real or DEMO=simulated decides it.
demo: build bin/engines
	demo/demo.sh up $(DEMO)

demo-down: build bin/engines
	demo/demo.sh down

bin/engines: FORCE
	$(GO) build -o $@ ./demo/engines

check:
	@unformatted="$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go'))"; \
	  if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./internal/arch
	$(GO) mod tidy -diff

test: test-unit test-integration

# Twice: virtual-time tests (testing/synctest) are left out of the race run,
# where their timers are known to crash before Go 1.27.
test-unit: setup-tests
	$(GO) test -race -timeout 5m $(UNIT)
	$(GO) test -timeout 5m $(UNIT)

test-integration: setup-tests
	$(GO) test -count=1 -p 2 -timeout 20m $$($(GO) list ./test/... | grep -vE '$(TIMED)')
	$(GO) test -count=1 -timeout 20m $$($(GO) list ./test/... | grep -E '$(TIMED)')

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(UNIT)

# Every fuzz target for a while: make fuzz FUZZTIME=5m
fuzz:
	@for pkg in $$($(GO) list $(UNIT)); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

clean:
	rm -rf bin
