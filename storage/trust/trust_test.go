// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/proa-containers/proa/pkg/errs"
)

// home gives the test a home directory without any policy, and returns the
// place of the user's.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	t.Setenv("CONTAINERS_POLICY_JSON", "")
	return filepath.Join(dir, "config/containers/policy.json")
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func gpgKey(t *testing.T, dir, mail string) string {
	t.Helper()
	k, err := openpgp.NewEntity("A Signer", "", mail, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := k.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, mail+".gpg"), b.String())
}

func pemKey(t *testing.T, dir string) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, "key.pub"), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
}

// TestSetKeeps changes one rule; all others pass, those that no type of a
// Setting describes too.
func TestSetKeeps(t *testing.T) {
	path := write(t, home(t), `{"default": [{"type": "reject"}], "transports": {
		"oci": {"": [{"type": "insecureAcceptAnything"}]},
		"docker": {
			"a.example.com": [{"type": "sigstoreSigned", "keyPath": "/k<1>.pub", "signedIdentity": {"type": "matchRepository"}}],
			"b.example.com": [{"type": "reject"}]}}}`)
	if _, err := Set(Setting{Scope: "b.example.com", Type: Accept}); err != nil {
		t.Fatal(err)
	}
	got := read(t, path)
	for _, want := range []string{`"/k<1>.pub"`, `"matchRepository"`, `"oci": {`, `"default": [`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is gone:\n%s", want, got)
		}
	}
	var p struct {
		Default    []requirement
		Transports map[string]map[string][]requirement
	}
	if err := json.Unmarshal([]byte(got), &p); err != nil {
		t.Fatal(err)
	}
	if p.Transports["docker"]["b.example.com"][0].Type != "insecureAcceptAnything" || p.Default[0].Type != "reject" {
		t.Errorf("got\n%s", got)
	}
	if _, err := Set(Setting{Scope: DefaultScope, Type: Accept}); err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
}

// TestSetNew begins with what is in force.
func TestSetNew(t *testing.T) {
	path := home(t)
	got, err := Set(Setting{Scope: "*.example.com", Type: Reject})
	if err != nil || got != path {
		t.Fatal(got, err)
	}
	list, err := List(ListOptions{Scope: "x.example.com/y:1"})
	if err != nil || len(list) != 1 || list[0].Type != Reject || list[0].RepoName != "*.example.com" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = List(ListOptions{Scope: "other.org/y"}); err != nil || list[0].RepoName != "default" {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestSetRefuses leaves the file as it is.
func TestSetRefuses(t *testing.T) {
	dir := t.TempDir()
	gpg, cosign := gpgKey(t, dir, "me@example.com"), pemKey(t, dir)
	for name, c := range map[string]struct {
		before string
		s      Setting
		kind   errs.Kind
	}{
		"not JSON":          {"{", Setting{Scope: "a.org", Type: Accept}, errs.Invalid},
		"no default":        {`{"transports": {}}`, Setting{Scope: "a.org", Type: Accept}, errs.Invalid},
		"unknown member":    {`{"default": [{"type": "reject"}], "extra": 1}`, Setting{Scope: "a.org", Type: Accept}, errs.Invalid},
		"unknown type":      {acceptAll, Setting{Scope: "a.org", Type: "trusted"}, errs.Invalid},
		"no registry":       {acceptAll, Setting{Scope: "alpine", Type: Accept}, errs.Invalid},
		"nonsense":          {acceptAll, Setting{Scope: "a.org/B", Type: Accept}, errs.Invalid},
		"wildcard and path": {acceptAll, Setting{Scope: "*.a.org/b", Type: Accept}, errs.Invalid},
		"no key":            {acceptAll, Setting{Scope: "a.org", Type: SignedBy}, errs.Invalid},
		"missing key":       {acceptAll, Setting{Scope: "a.org", Type: SignedBy, KeyFiles: []string{dir + "/none"}}, errs.NotFound},
		"wrong sort of key": {acceptAll, Setting{Scope: "a.org", Type: SignedBy, KeyFiles: []string{cosign}}, errs.Invalid},
		"and the other":     {acceptAll, Setting{Scope: "a.org", Type: SigstoreSigned, KeyFiles: []string{gpg}}, errs.Invalid},
		"key for accept":    {acceptAll, Setting{Scope: "a.org", Type: Accept, KeyFiles: []string{gpg}}, errs.Invalid},
	} {
		path := write(t, home(t), c.before)
		_, err := Set(c.s)
		if !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
		if got := read(t, path); got != c.before {
			t.Errorf("%s: the file is now %s", name, got)
		}
	}
}

// TestSetThroughLink writes the file that a link names.
func TestSetThroughLink(t *testing.T) {
	path := home(t)
	real := write(t, filepath.Join(t.TempDir(), "dotfiles/policy.json"), acceptAll)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	if _, err := Set(Setting{Scope: "a.org", Type: Reject}); err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Lstat(path); fi.Mode()&os.ModeSymlink == 0 || !strings.Contains(read(t, real), "a.org") {
		t.Error("the link was replaced")
	}
}

func TestList(t *testing.T) {
	path := home(t)
	dir := t.TempDir()
	one, two := gpgKey(t, dir, "one@example.com"), gpgKey(t, dir, "two@example.com")
	cosign := pemKey(t, dir)
	for _, s := range []Setting{
		{Scope: DefaultScope, Type: Reject},
		{Scope: "gpg.example.com/x", Type: SignedBy, KeyFiles: []string{one, two}},
		{Scope: "sig.example.com", Type: SigstoreSigned, KeyFiles: []string{cosign}},
	} {
		if _, err := Set(s); err != nil {
			t.Fatal(err)
		}
	}
	reg := filepath.Dir(path) + "/registries.d"
	write(t, reg+"/a.yaml", "docker:\n  gpg.example.com:\n    lookaside: https://sigs.example.com\n")
	list, err := List(ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, strings.Join([]string{e.Transport, e.RepoName, e.Type, e.ID, e.Store}, "|"))
	}
	want := []string{
		"all|default|reject||",
		"repository|gpg.example.com/x|signed|one@example.com|https://sigs.example.com",
		"repository|gpg.example.com/x|signed|two@example.com|https://sigs.example.com",
		"repository|sig.example.com|sigstoreSigned|N/A|",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestRegistries(t *testing.T) {
	home(t)
	dir := t.TempDir()
	write(t, dir+"/a.yaml", "default-docker:\n  sigstore: file:///default\n  use-sigstore-attachments: true\n")
	write(t, dir+"/b.yaml", "docker:\n  a.org/b:\n    lookaside: file:///b\n  a.org:\n    use-sigstore-attachments: false\n  \"*.c.org\":\n    lookaside: file:///c\n")
	r, err := ReadRegistries(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		store  string
		attach bool
	}{
		"a.org/b:1":     {"file:///b", false},
		"a.org/x":       {"file:///default", false},
		"x.c.org:5000/": {"file:///c", true},
		"d.org":         {"file:///default", true},
	} {
		if s, a := r.Store(name), r.Attachments(name); s != want.store || a != want.attach {
			t.Errorf("%s: %s %v", name, s, a)
		}
	}
	write(t, dir+"/c.yaml", "docker: [")
	if _, err := ReadRegistries(dir); !errs.Is(err, errs.Invalid) {
		t.Errorf("broken file: %v", err)
	}
}
