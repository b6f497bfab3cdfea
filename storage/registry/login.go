// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/docker/config"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// LoginOptions name an account at a registry. Neither Login nor Logout needs
// the user's namespace.
type LoginOptions struct {
	Registry       string // empty: docker.io; a scheme and a path are left out, but for REGISTRY/NAMESPACE
	Username       string
	Password       string
	AuthFile       string // empty: the usual place
	CompatAuthFile string // of Docker's kind: config.json; empty: none
	CertDir        string
	TLSVerify      *bool
}

// Login asks the registry whether it knows the account and remembers the
// credentials: with the credential helper that registries.conf or the
// authentication file names, else in that file. It returns where they are.
func Login(ctx context.Context, o LoginOptions) (where string, err error) {
	key, host := registryKey(o.Registry)
	sys, err := loginSystem(o, true)
	if err != nil {
		return "", err
	}
	asked := host
	if named, nerr := reference.ParseNormalizedNamed(host + "/x"); nerr == nil {
		probe := *sys
		at, err := PlaceOf(&probe, named)
		if err != nil {
			return "", err
		}
		asked, sys.DockerInsecureSkipTLSVerify = reference.Domain(at.Of(named)), probe.DockerInsecureSkipTLSVerify
	}
	err = Within(ctx, func(ctx context.Context) error { return docker.CheckAuth(ctx, sys, o.Username, o.Password, asked) })
	if err != nil {
		var unauth docker.ErrUnauthorizedForCredentials
		if errors.As(err, &unauth) {
			return "", errs.New(errs.Unauthorized, "login attempt to %s failed: unauthorized: incorrect username or password", host)
		}
		if named, nerr := reference.ParseNormalizedNamed(host + "/x"); nerr == nil {
			err = Explain(err, named)
		}
		return "", errs.Wrap(err, "log in to", host)
	}
	where, err = config.SetCredentials(sys, key, o.Username, o.Password)
	return where, cannotWrite(err, "keep the credentials of", key)
}

// LoggedIn is the user name known for a registry, "" without one.
func LoggedIn(o LoginOptions) (string, error) {
	key, _ := registryKey(o.Registry)
	sys, err := loginSystem(o, false)
	if err != nil {
		return "", err
	}
	a, err := knownCredentials(sys, key)
	return a.Username, errs.Wrap(err, "read the credentials of", key)
}

// Credentials are user name and password known for a registry, empty without.
func Credentials(o LoginOptions) (user, password string, err error) {
	key, _ := registryKey(o.Registry)
	sys, err := loginSystem(o, false)
	if err != nil {
		return "", "", err
	}
	a, err := knownCredentials(sys, key)
	return a.Username, a.Password, errs.Wrap(err, "read the credentials of", key)
}

// Logout forgets the credentials of a registry. Kind NotFound: there were none.
func Logout(o LoginOptions) error {
	key, _ := registryKey(o.Registry)
	sys, err := loginSystem(o, true)
	if err != nil {
		return err
	}
	err = config.RemoveAuthentication(sys, key)
	if errors.Is(err, config.ErrNotLoggedIn) {
		return errs.New(errs.NotFound, "Not logged in to %s", key)
	}
	return cannotWrite(err, "log out of", key)
}

// LogoutAll forgets all credentials.
func LogoutAll(o LoginOptions) error {
	sys, err := loginSystem(o, true)
	if err != nil {
		return err
	}
	return cannotWrite(config.RemoveAllAuthentication(sys), "log out of", "all registries")
}

// cannotWrite is errs.Wrap of what a change of the file of credentials gave. The library hands
// on only the text of what went wrong below it.
func cannotWrite(err error, action, object string) error {
	if err != nil && strings.Contains(err.Error(), "permission denied") {
		return errs.WithHint(errs.Wrap(err, action, object), "use another file: --authfile FILE")
	}
	return errs.Wrap(err, action, object)
}

func loginSystem(o LoginOptions, write bool) (*types.SystemContext, error) {
	file := o.AuthFile
	if write && o.CompatAuthFile == "" {
		file = writableAuthFile(file)
	}
	sys, err := RemoteOptions{AuthFile: file, CertDir: o.CertDir, TLSVerify: o.TLSVerify}.SystemContext()
	if err == nil && o.CompatAuthFile != "" {
		sys.AuthFilePath, sys.DockerCompatAuthFilePath = "", o.CompatAuthFile
	}
	return sys, err
}

// registryKey is what credentials are filed under, and the host to ask.
func registryKey(registry string) (key, host string) {
	key = strings.TrimPrefix(strings.TrimPrefix(registry, "https://"), "http://")
	key = strings.TrimSuffix(key, "/")
	switch key {
	case "", "index.docker.io", "index.docker.io/v1", "registry-1.docker.io":
		key = "docker.io"
	}
	host, _, _ = strings.Cut(key, "/")
	return key, host
}

// writableAuthFile is where credentials are kept. They outlive a reboot, as in
// Docker, unless other tools already have a file in the run-time directory,
// which would then come first.
func writableAuthFile(given string) string {
	if given != "" || os.Getenv("REGISTRY_AUTH_FILE") != "" {
		return given
	}
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		if _, err := os.Stat(filepath.Join(run, "containers", "auth.json")); err == nil {
			return ""
		}
	}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := os.Getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "containers", "auth.json")
}
