// SPDX-License-Identifier: Apache-2.0

// Package trust reads and edits the files that say which images are accepted:
// policy.json, and the files of registries.d that say where signatures lie. Who
// enforces them is the pull (storage).
package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/signature"
	"go.podman.io/storage/pkg/configfile"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/storage/conffile"
)

// Types of a setting, in podman's words.
const (
	Accept         = "accept"
	Reject         = "reject"
	SignedBy       = "signedBy"
	SigstoreSigned = "sigstoreSigned"
)

// DefaultScope is the name of the rule for everything that no other names.
const DefaultScope = "default"

// acceptAll is what holds where there is no policy.json, as in Docker.
const acceptAll = `{"default":[{"type":"insecureAcceptAnything"}]}`

// Setting is a rule for the images of a registry, a namespace or a repository.
type Setting struct {
	PolicyPath string // empty: the user's policy.json
	Scope      string // docker.io, docker.io/library/alpine:3, *.example.com or default
	Type       string
	KeyFiles   []string // absolute; each must have signed
}

// files are the candidates for the policy in force, the first that exists.
func files(explicit string) ([]string, error) {
	if explicit != "" {
		return []string{explicit}, nil
	}
	p, err := configfile.GetSearchPaths(conffile.Policy(""))
	return p.MainFiles, err
}

// InForce is the policy file that decides, "" where there is none, and its
// content. A link that leads nowhere is an error, not an absent policy.
func InForce(explicit string) (path string, data []byte, err error) {
	list, err := files(explicit)
	if err != nil {
		return "", nil, err
	}
	for _, f := range list {
		data, err := os.ReadFile(f)
		if err == nil {
			return f, data, nil
		}
		if err := conffile.Exists(f); err != nil {
			return "", nil, err
		}
		if !errors.Is(err, fs.ErrNotExist) || len(list) == 1 {
			return "", nil, errs.Wrap(readError(err), "read the signature policy", f)
		}
	}
	return "", nil, nil
}

func readError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errs.New(errs.NotFound, "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return errs.New(errs.Denied, "%w", err)
	}
	return err
}

func parse(path string, data []byte) (*signature.Policy, error) {
	p, err := signature.NewPolicyFromBytes(data)
	if err != nil {
		return nil, errs.WithHint(errs.Wrap(errs.New(errs.Invalid, "%w", err), "read the signature policy", path), "correct the file, or move it away")
	}
	return p, nil
}

// Set puts a rule into the policy file and returns the file's name. All else in
// it stays; a file that is not a valid policy is refused and not touched. Where
// the user has no file yet it begins as a copy of the one in force: the library
// reads only one, and the administrator's rules must not be lost.
func Set(s Setting) (path string, err error) {
	rule, err := s.rule()
	if err != nil {
		return "", err
	}
	list, err := files(s.PolicyPath)
	if err != nil {
		return "", err
	}
	path = list[0]
	// A link into somebody's collection of dot files stays one.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", errs.Wrap(readError(err), "create directory", dir)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return "", errs.Wrap(readError(err), "lock directory", dir)
	}
	defer unlock()
	base, data, mode, err := before(path, s.PolicyPath)
	if err != nil {
		return "", err
	}
	if _, err := parse(base, data); err != nil {
		return "", err
	}
	if data, err = edit(data, s.Scope, rule); err != nil {
		return "", err
	}
	if _, err := parse(path, data); err != nil {
		return "", err
	}
	return path, errs.Wrap(readError(atomicfile.Write(path, data, mode, atomicfile.Durable)), "write", path)
}

// before is what the edited file begins with.
func before(path, explicit string) (from string, data []byte, mode fs.FileMode, err error) {
	fi, err := os.Stat(path)
	if err == nil {
		data, err = os.ReadFile(path)
		return path, data, fi.Mode().Perm(), errs.Wrap(readError(err), "read the signature policy", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, 0, errs.Wrap(readError(err), "read the signature policy", path)
	}
	if err := conffile.Exists(path); err != nil {
		return "", nil, 0, err
	}
	if explicit == "" && os.Getenv("CONTAINERS_POLICY_JSON") == "" {
		if from, data, err = InForce(""); err != nil {
			return "", nil, 0, err
		}
	}
	if data == nil {
		data = []byte(acceptAll)
	}
	return from, data, 0o644, nil
}

// lockDir keeps others from editing files of a directory at the same time.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := filelock.Flock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// requirement is one element of a rule as policy.json has it.
type requirement struct {
	Type    string `json:"type"`
	KeyType string `json:"keyType,omitempty"`
	KeyPath string `json:"keyPath,omitempty"`
}

// rule checks the setting and turns it into requirements.
func (s *Setting) rule() ([]requirement, error) {
	if s.Scope != DefaultScope {
		if err := checkScope(s.Scope); err != nil {
			return nil, err
		}
	}
	switch s.Type {
	case Accept, Reject:
		if len(s.KeyFiles) > 0 {
			return nil, errs.WithHint(errs.New(errs.Invalid, "--pubkeysfile has no meaning for the type %q", s.Type), "omit it, or use --type signedBy")
		}
		if s.Type == Accept {
			return []requirement{{Type: "insecureAcceptAnything"}}, nil
		}
		return []requirement{{Type: "reject"}}, nil
	case SignedBy, SigstoreSigned:
	default:
		return nil, errs.New(errs.Invalid, "invalid choice: %s (choose from 'accept', 'reject', 'signedBy', 'sigstoreSigned')", s.Type)
	}
	if len(s.KeyFiles) == 0 {
		return nil, errs.WithHint(errs.New(errs.Invalid, "at least one public key must be defined for type '%s'", s.Type), "add --pubkeysfile FILE")
	}
	var out []requirement
	for _, f := range s.KeyFiles {
		if err := checkKey(s.Type, f); err != nil {
			return nil, err
		}
		r := requirement{Type: s.Type, KeyPath: f}
		if s.Type == SignedBy {
			r.KeyType = "GPGKeys"
		}
		out = append(out, r)
	}
	return out, nil
}

// checkScope refuses what no image's name can match.
func checkScope(s string) error {
	host, _, _ := strings.Cut(s, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return errs.WithHint(errs.New(errs.Invalid, "%q does not begin with a registry", s), "write for instance docker.io/library/%s, or default", s)
	}
	name := strings.TrimPrefix(s, "*.")
	if name != s && strings.Contains(name, "/") {
		return errs.New(errs.Invalid, "%q: a wildcard stands for registries alone", s)
	}
	if !strings.Contains(name, "/") {
		name += "/x" // a registry is a name's first part
	}
	if _, err := reference.ParseNormalizedNamed(name); err != nil {
		return errs.New(errs.Invalid, "invalid registry or repository %q: %w", s, err)
	}
	return nil
}

// checkKey refuses a file that no signature could be checked with.
func checkKey(typ, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return errs.Wrap(readError(err), "read the public key", path)
	}
	if typ == SignedBy {
		_, ids, err := signature.NewEphemeralGPGSigningMechanism(data)
		if err != nil || len(ids) == 0 {
			return errs.WithHint(errs.Wrap(errs.New(errs.Invalid, "it holds no GPG public key"), "read the public key", path), "gpg --export KEY >%s", path)
		}
		return nil
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return errs.Wrap(errs.New(errs.Invalid, "it holds no PEM block \"PUBLIC KEY\""), "read the public key", path)
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		return errs.Wrap(errs.New(errs.Invalid, "%w", err), "read the public key", path)
	}
	return nil
}

// edit replaces one rule of a valid policy. The rest passes through as the text
// that it is.
func edit(data []byte, scope string, rule []requirement) ([]byte, error) {
	text, err := encode(rule, "")
	if err != nil {
		return nil, err
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, err
	}
	if scope == DefaultScope {
		top["default"] = text
		return encode(top, "    ")
	}
	transports, docker := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := inside(top, "transports", &transports); err != nil {
		return nil, err
	}
	if err := inside(transports, "docker", &docker); err != nil {
		return nil, err
	}
	docker[scope] = text
	if transports["docker"], err = encode(docker, ""); err != nil {
		return nil, err
	}
	if top["transports"], err = encode(transports, ""); err != nil {
		return nil, err
	}
	return encode(top, "    ")
}

func inside(m map[string]json.RawMessage, key string, into *map[string]json.RawMessage) error {
	if m[key] == nil {
		return nil
	}
	if err := json.Unmarshal(m[key], into); err != nil {
		return err
	}
	if *into == nil { // JSON's null
		*into = map[string]json.RawMessage{}
	}
	return nil
}

// encode is json.Marshal that leaves "<" in strings as it is.
func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(v)
	return b.Bytes(), err
}
