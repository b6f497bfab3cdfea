// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"unicode"

	"github.com/docker/distribution/registry/api/errcode"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"

	"github.com/proa-containers/proa/pkg/errs"
)

// Transient says that err is a failure of the network or of a server that may
// pass.
func Transient(err error) bool {
	if err == nil {
		return false
	}
	var status docker.UnexpectedHTTPStatusError
	if errors.As(err, &status) {
		return status.StatusCode >= 500
	}
	if errors.Is(err, docker.ErrTooManyRequests) {
		return false // the library has waited and asked again several times
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return false // nobody is there: say so at once
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return true
	}
	var request *url.Error
	if errors.As(err, &request) && (errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)) {
		return true // the server hung up instead of answering, or of listening
	}
	var code errcode.Error
	if errors.As(err, &code) {
		return code.Code.Descriptor().HTTPStatusCode >= 500 && code.Code != errcode.ErrorCodeUnknown || code.Code == errcode.ErrorCodeUnavailable
	}
	// The registry client renders other 5xx answers as text only.
	if text := err.Error(); strings.Contains(text, "StatusCode: 5") || strings.Contains(text, "unexpected HTTP status: 5") {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// told is an error of the registry client without what the client was doing: its
// sentences name the registry again and again. What the registry said is on one
// line, with nothing that a terminal would obey.
type told struct {
	error
	name string // of the repository that was asked for
}

// Told is err, of a request about the name, in fewer words.
func Told(err error, named reference.Named) error { return told{err, named.Name()} }

// doings are the beginnings of such sentences, with the place in the last group.
var doings = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:initializing (?:source|destination) \S+|trying to reuse blob \S+ at destination|checking whether a blob \S+ exists in \S+|writing (?:blob|manifest)(?: \S+)?` +
		`|initiating layer upload to \S+ in \S+|uploading (?:layer|manifest \S+) to \S+|pinging container registry \S+|unable to retrieve auth token` +
		`|couldn't search registry "[^"]*"` +
		`|(?:Get|Head|Put|Post|Patch) "[^"]*"|(?:reading|fetching) manifest(?: body)? \S+ in (\S+)): `)
})

func (t told) Error() string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, t.error.Error())
	several := strings.Contains(text, "also failed: ") // each stands behind its address
	mirror := ""
	text = doings().ReplaceAllStringFunc(text, func(part string) string {
		if place := doings().FindStringSubmatch(part)[1]; place != "" && place != t.name && !several {
			mirror = " (at " + place + ")"
		}
		return ""
	})
	parts := strings.Split(text, ": ")
	kept := parts[:0]
	for i, p := range parts {
		if i+1 == len(parts) || strings.TrimRight(parts[i+1], "])") != p {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ": ") + mirror
}

func (t told) Unwrap() error { return t.error }

// unknownManifest says it in Docker's words, and in the registry's where those
// are others.
func unknownManifest(name string, err error) error {
	if strings.Contains(err.Error(), "manifest unknown") {
		return errs.New(errs.NotFound, "manifest for %s not found: %w", name, err)
	}
	return errs.New(errs.NotFound, "manifest for %s not found: manifest unknown: %w", name, err)
}

// Explain says in Docker's words what a registry's refusal means. What has a Kind
// already comes back as it is, and so does what it does not know.
func Explain(err error, named reference.Named) error {
	if err == nil || errs.KindOf(err) != errs.Internal {
		return err
	}
	err = Told(err, named)
	name := reference.FamiliarString(named)
	repo := reference.FamiliarName(named)
	var unauth docker.ErrUnauthorizedForCredentials
	var code errcode.ErrorCoder // an Error, or the ErrorCode alone where the answer had no text
	var status docker.UnexpectedHTTPStatusError
	is := errors.As(err, &code)
	httpStatus := 0
	if is {
		httpStatus = code.ErrorCode().Descriptor().HTTPStatusCode
	}
	if errors.As(err, &status) {
		httpStatus = status.StatusCode
	}
	// Of answers that are no JSON only the text has the status.
	if _, rest, ok := strings.Cut(err.Error(), "StatusCode: "); ok && httpStatus == 0 {
		_, _ = fmt.Sscanf(rest, "%d", &httpStatus)
	}
	switch {
	case errors.As(err, &unauth), httpStatus == http.StatusUnauthorized, httpStatus == http.StatusForbidden:
		return denied(named, err)
	case is && code.ErrorCode().Descriptor().Value == "NAME_UNKNOWN":
		return errs.New(errs.NotFound, "repository %s not found: %w", repo, err)
	case is && code.ErrorCode().Descriptor().Value == "BLOB_UNKNOWN":
		return errs.New(errs.NotFound, "a part of %s is missing at the registry: %w", name, err)
	case httpStatus == http.StatusNotFound, is && code.ErrorCode().Descriptor().Value == "MANIFEST_UNKNOWN":
		return unknownManifest(name, err)
	case errors.Is(err, docker.ErrTooManyRequests), httpStatus == http.StatusTooManyRequests:
		return errs.WithHint(errs.New(errs.Unavailable, "the registry limits the rate of requests: %w", err),
			"wait, or log in: proa login %s", reference.Domain(named))
	case strings.Contains(err.Error(), "exceeded maximum allowed size"):
		return errs.New(errs.Invalid, "the answer of %s is too long: %w", reference.Domain(named), err)
	case strings.Contains(err.Error(), "does not match provided manifest digest"):
		return errs.New(errs.Corrupt, "%s sent another manifest than that of the digest: %w", reference.Domain(named), err)
	case strings.Contains(err.Error(), "decoding bearer token"):
		return errs.New(errs.Unavailable, "the token server of %s sent no token: %w", reference.Domain(named), err)
	case errors.Is(err, http.ErrSchemeMismatch), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return errs.WithHint(errs.New(errs.Unavailable, "%s speaks HTTP, not HTTPS: %w", reference.Domain(named), err),
			"add --tls-verify=false, or declare the registry insecure in registries.conf")
	case strings.Contains(err.Error(), "x509:"):
		return errs.WithHint(errs.New(errs.Unavailable, "cannot trust the certificate of %s: %w", reference.Domain(named), err),
			"put its CA into ~/.config/containers/certs.d/%s/ca.crt, or add --tls-verify=false", reference.Domain(named))
	}
	// What mirrors answered is in the text alone, before the registry's own
	// failure.
	if text := err.Error(); strings.Contains(text, "Mirrors also failed") {
		switch {
		case strings.Contains(text, "manifest unknown"):
			return unknownManifest(name, err)
		case strings.Contains(text, "name unknown"):
			return errs.New(errs.NotFound, "repository %s not found: %w", repo, err)
		case strings.Contains(text, "authentication required"):
			return denied(named, err)
		}
	}
	var op *net.OpError
	var dns *net.DNSError
	var request *url.Error
	if errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &request) || Transient(err) {
		return errs.New(errs.Unavailable, "cannot reach %s: %w", reference.Domain(named), err)
	}
	return err
}

// PushError explains why a registry did not take what was pushed under a name.
func PushError(err error, named reference.Named) error {
	raw := err
	err = Explain(err, named)
	if errs.Is(err, errs.Unauthorized) {
		return errs.WithHint(errs.New(errs.Unauthorized, "denied: requested access to the resource is denied: %w", Told(raw, named)),
			"proa login %s", reference.Domain(named))
	}
	return errs.Wrap(err, "push image", reference.FamiliarString(named))
}

func denied(named reference.Named, err error) error {
	return errs.WithHint(errs.New(errs.Unauthorized,
		"pull access denied for %s, repository does not exist or may require 'proa login': %w", reference.FamiliarName(named), err),
		"proa login %s", reference.Domain(named))
}
