// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// systemAuthorities are the places where distributions have the authorities that everybody
// trusts, in one file.
var systemAuthorities = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

// gitEnv lets git reach servers as Web does. It is an addition to the environment, after which no
// GIT_SSL_NO_VERIFY of the caller counts. dir is a private directory for the authorities: git takes
// one file, instead of those of the system.
func (w *Web) gitEnv(dir string) ([]string, error) {
	switch {
	case w == nil:
		return nil, nil
	case w.verify != nil && !*w.verify:
		return []string{"GIT_SSL_NO_VERIFY=1"}, nil
	case w.certDir == "":
		return nil, nil
	}
	entries, err := os.ReadDir(w.certDir)
	if err != nil {
		return nil, errs.Wrap(errs.OfFile(err), "read", w.certDir)
	}
	all := commonAuthorities()
	var env []string
	for _, e := range entries {
		path := filepath.Join(w.certDir, e.Name())
		switch filepath.Ext(path) {
		case ".crt":
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, errs.Wrap(errs.OfFile(err), "read", path)
			}
			all = append(append(all, text...), '\n')
		case ".cert": // NewWeb has found its key; git shows one only
			if env == nil {
				env = []string{"GIT_SSL_CERT=" + path, "GIT_SSL_KEY=" + strings.TrimSuffix(path, ".cert") + ".key"}
			}
		}
	}
	bundle := filepath.Join(dir, "authorities")
	return append(env, "GIT_SSL_CAINFO="+bundle), os.WriteFile(bundle, all, 0o600)
}

// gitOptions are those of git for what the user says about certificates.
func (w *Web) gitOptions() []string {
	if w == nil || w.verify == nil || !*w.verify {
		return nil
	}
	return []string{"-c", "http.sslVerify=true"}
}

// commonAuthorities are those that git trusts without certificates of the caller.
func commonAuthorities() []byte {
	places := systemAuthorities
	if f := os.Getenv("GIT_SSL_CAINFO"); f != "" {
		places = []string{f}
	}
	for _, p := range places {
		if text, err := os.ReadFile(p); err == nil {
			return append(bytes.Clone(text), '\n')
		}
	}
	return nil
}
