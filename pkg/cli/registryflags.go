// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// registryFlags are how a registry is reached.
type registryFlags struct {
	libpod.RemoteOptions
	tlsVerify bool
	set       *flagSet
}

const tlsVerifyUsage = "Require HTTPS and a valid certificate of the registry (default: unless it is on loopback)"

func (o *registryFlags) register(f *flagSet) {
	o.set, o.tlsVerify = f, true
	f.text(&o.AuthFile, "authfile", "", "File with the credentials of registries").path()
	f.text(&o.CertDir, "cert-dir", "", "Directory with certificates of the registry").dir()
	f.text(&o.Creds, "creds", "", "Credentials (USERNAME:PASSWORD) for the registry")
	f.boolean(&o.tlsVerify, "tls-verify", "", tlsVerifyUsage).def = ""
}

// registerRetry is for commands that transfer images.
func (o *registryFlags) registerRetry(f *flagSet) {
	parsed(f, &o.Retry, "retry", "", "uint", "Number of further attempts where a registry fails", parseRetry).def = "3"
	parsed(f, &o.RetryDelay, "retry-delay", "", "duration", "Pause before each further attempt (default: it doubles)", parseDelay)
}

// registerDecrypt is for commands that fetch images. Keys are read at once: a
// command that cannot use them does nothing.
func (o *registryFlags) registerDecrypt(f *flagSet) {
	var keys []string
	f.add(&flagDef{name: "decryption-key", typ: "list", usage: "Private key for encrypted layers (FILE[:PASSWORD])", set: func(s string) (err error) {
		keys = append(keys, s)
		o.Decrypt, err = libpod.DecryptionKeys(keys)
		return err
	}})
}

func parseRetry(s string) (*int, error) {
	var n int
	if err := setInt(&n, s); err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, errs.WithHint(errs.New(errs.Invalid, "must not be negative"), "write 0 for one attempt only")
	}
	return &n, nil
}

func parseDelay(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errs.WithHint(errs.New(errs.Invalid, "it is not a duration"), "write 500ms, 5s or 1m")
	}
	return d, nil
}

// options is what was given. A file of credentials or a directory of certificates that is not there
// is an error, also for a command that turns out to need no registry.
func (o *registryFlags) options(a *app) (libpod.RemoteOptions, error) {
	if o.set.changed("tls-verify") {
		o.TLSVerify = &o.tlsVerify
	}
	if err := a.absolute(&o.AuthFile, &o.CertDir); err != nil {
		return o.RemoteOptions, err
	}
	if err := checkCertDir(o.CertDir); err != nil {
		return o.RemoteOptions, err
	}
	return o.RemoteOptions, checkAuthFile("authfile", o.AuthFile)
}

// checkCertDir wants the directory of --cert-dir to be there and readable: the library takes a
// missing or closed one for an empty one, and would not show the certificate in it.
func checkCertDir(path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.ReadDir(path); err != nil {
		return errs.New(errs.KindOf(errs.OfFile(err)), "cannot read the directory of --cert-dir: %v", err)
	}
	return nil
}

// checkAuthFile wants the file that --flag names to be there and readable.
func checkAuthFile(flag, path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		kind := errs.KindOf(errs.OfFile(err))
		err = errs.New(kind, "cannot read the file of --%s: %v", flag, err)
		if kind == errs.NotFound {
			err = errs.WithHint(err, "proa login --%s FILE REGISTRY makes the file", flag)
		}
		return err
	}
	return f.Close()
}

// platformFlags are --platform and podman's three for its parts.
type platformFlags struct {
	platform string
	parts    [3][]string // --os, --arch, --variant
}

func (o *platformFlags) register(f *flagSet) {
	parsed(f, &o.platform, "platform", "", "string", "Set platform if the image is for several", spec.ParsePlatform)
	f.texts(&o.parts[0], "os", "", "Operating system of the image, if it is for several").typ = "string"
	f.texts(&o.parts[1], "arch", "", "Architecture of the image, if it is for several").typ = "string"
	f.texts(&o.parts[2], "variant", "", "Variant of the architecture, if the image is for several").typ = "string"
}

// value is the platform that was asked for, "" without one.
func (o *platformFlags) value() (string, error) {
	parts := []string{"linux", runtime.GOARCH, ""}
	given := false
	for i, values := range o.parts {
		if len(values) > 0 {
			parts[i], given = values[len(values)-1], true
		}
	}
	if !given {
		return o.platform, nil
	}
	if o.platform != "" {
		return "", errs.WithHint(errs.New(errs.Invalid, "--platform option can not be specified with --arch, --os or --variant"), "omit --platform")
	}
	return spec.ParsePlatform(strings.TrimSuffix(strings.Join(parts, "/"), "/"))
}
