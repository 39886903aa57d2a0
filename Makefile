# make demo    serves the demo app and the enclave; needs Go 1.21 or newer, and the network the first time
# make test    installs what the tests need, and runs all of them
# make enclave builds the command, bin/enclave
#
# Go itself fetches the exact toolchain: it is part of what is measured.
export GOTOOLCHAIN := go1.27.3

ENGINES ?=
ifneq ($(ENGINES),)
export KMS_ENGINES := $(ENGINES)
endif

# Modules other than the root's: their dependencies are not the product's.
MODULES := vectors transcripts peers
FUZZTIME ?= 20s

.PHONY: enclave demo test test-go test-sdk test-browsers tools-for-tests bench profile soak lint generate fuzz

# bin/enclave, the command. It runs wherever Go is set up to use no other toolchain, too.
enclave:
	go build -o bin/enclave ./cmd/enclave

demo: enclave
	@bin/enclave demo

test: tools-for-tests lint test-go test-sdk test-browsers

tools-for-tests:
	sh e2e/install.sh

test-go:
	go vet ./...
	go test $$(go list ./... | grep -v internal/simulator)
	go test ./internal/simulator # alone, because it takes all there is
	set -e; for module in $(MODULES); do (cd $$module && go test -tags kmstest ./...); done

test-sdk: tools-for-tests
	sh e2e/sdk.sh

test-browsers: tools-for-tests
	node e2e/run.mjs $(SUITES)

bench: tools-for-tests
	node bench/run.mjs
	node bench/user.mjs
	node bench/bounds.mjs
	node bench/verify.mjs
	go test ./audit -run '^$$' -bench VerifyFile # 100,000 entries of an exported log
	cd peers && go test -run '^$$' -bench Send -benchtime 3s # beside webpush-go
	go test ./relay -run '^$$' -bench . -benchtime 5s # end to end, and 100,000 subscriptions

profile: tools-for-tests
	node bench/profile.mjs pipelined
	node bench/profile.mjs sequential

# Hours: SOAK="kills --kills 20 --acks 1000" and the like make it shorter; node e2e/soak.mjs --help has the options.
soak: tools-for-tests
	node e2e/soak.mjs $(SOAK)

lint:
	test -z "$$(go fix -diff ./... | tee /dev/stderr)"
	cd tools && go build -o bin/ honnef.co/go/tools/cmd/staticcheck mvdan.cc/gofumpt
	tools/bin/staticcheck ./...
	GOOS=js GOARCH=wasm tools/bin/staticcheck -tags kmstest ./...
	test -z "$$(tools/bin/gofumpt -l . | tee /dev/stderr)"

generate:
	go generate ./...

# Every fuzz target for FUZZTIME each; what they find is kept under testdata.
fuzz:
	set -e; go list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir package; do \
	  for target in $$(cat "$$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do \
	    echo "$$package $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
	  done; \
	done
