# SPDX-License-Identifier: Apache-2.0

SHELL   := /bin/bash
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR  ?= $(PREFIX)/bin
MANDIR  ?= $(PREFIX)/share/man
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR  ?= $(PREFIX)/share/zsh/site-functions
FISHCOMPDIR ?= $(PREFIX)/share/fish/vendor_completions.d

MODULE  := github.com/proa-containers/proa
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || cat VERSION 2>/dev/null || echo 0.0.0-dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# The commit's time, so that two builds of it are equal.
BUILT   ?= $(shell git show -s --format=%cI HEAD 2>/dev/null)
LDFLAGS := -s -w -X $(MODULE)/pkg/version.Version=$(VERSION:v%=%) -X $(MODULE)/pkg/version.Commit=$(COMMIT) \
	-X $(MODULE)/pkg/version.Built=$(BUILT)

# A Go that is installed but not in PATH; hack/setup knows where they hide.
export PATH := $(PATH):/usr/local/go/bin:$(lastword $(sort $(wildcard /usr/lib/go-1.*/bin)))
export CGO_ENABLED := 1
include hack/go.env
export GOFLAGS

.PHONY: help build install uninstall test test-unit test-e2e test-root test-nosubid lab check bench demo docs clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/proa and bin/proa-monitor
	@mkdir -p bin; [ -e bin/proa ] || echo "The first build takes some minutes."
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/proa ./cmd/proa
	hack/build-monitor bin/proa-monitor '$(LDFLAGS)'

install: build ## install binaries, man pages and completions below PREFIX
	install -D -m 0755 bin/proa $(DESTDIR)$(BINDIR)/proa
	install -D -m 0755 bin/proa-monitor $(DESTDIR)$(BINDIR)/proa-monitor
	install -D -m 0644 hack/tmpfiles.conf $(DESTDIR)$(TMPFILESDIR)/proa.conf
	@for page in docs/man/*.[1-8]; do \
	  [ -e "$$page" ] || continue; \
	  install -D -m 0644 "$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; \
	done
	@for shell in bash:$(BASHCOMPDIR)/proa zsh:$(ZSHCOMPDIR)/_proa fish:$(FISHCOMPDIR)/proa.fish; do \
	  file="$(DESTDIR)$${shell#*:}"; mkdir -p "$${file%/*}" && bin/proa completion "$${shell%%:*}" >"$$file"; \
	done
	@[ -n "$(DESTDIR)" ] || echo 'Installed. Try "$(BINDIR)/proa run --rm hello"; "proa completion --help" says how each shell loads completion.'

uninstall: ## remove what install put below PREFIX
	rm -f $(DESTDIR)$(BINDIR)/proa $(DESTDIR)$(BINDIR)/proa-monitor $(DESTDIR)$(TMPFILESDIR)/proa.conf \
	  $(DESTDIR)$(BASHCOMPDIR)/proa $(DESTDIR)$(ZSHCOMPDIR)/_proa $(DESTDIR)$(FISHCOMPDIR)/proa.fish \
	  $(DESTDIR)$(MANDIR)/man*/proa*.[1-8]

demo: ## set the machine up, build, run a first container
	hack/setup

test: ## everything: unit, end-to-end as a user, as root, without subordinate ids
	hack/test all

test-unit: ## unit tests
	hack/test unit

test-e2e: ## end-to-end scripts as an unprivileged user; RUN=name for one script
	hack/test e2e $(RUN)

test-root: ## end-to-end scripts as root
	hack/test root $(RUN)

test-nosubid: ## end-to-end scripts as a user without subordinate ids
	hack/test nosubid $(RUN)

lab: build ## limits, systemd units, login sessions: in a guest with systemd as process 1; RUN=name for one test
	test/lab/run $(RUN)

check: ## gofmt, vet, staticcheck, import rules, generated docs, unit tests with -race
	hack/check

docs: ## write the generated reference and manual pages
	go run ./hack/gendocs

bench: ## ratios against podman and crun, side by side; ROWS=regexp for some rows
	hack/bench/run $(ROWS)

clean: ## remove build products
	rm -rf bin
