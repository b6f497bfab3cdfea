// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/docker/config"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage/pkg/homedir"

	"github.com/proa-containers/proa/pkg/errs"
)

// The library finds credentials in the files of containers/image and of Docker,
// helpers for single registries ("credHelpers") included. Docker has two more
// places: one helper for all registries ("credsStore"), and DOCKER_AUTH_CONFIG.

// dockerFile is the part of Docker's config.json that matters here.
type dockerFile struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		IdentityToken string `json:"identitytoken"`
	} `json:"auths"`
	CredsStore string `json:"credsStore"`
}

// dockerHub is how Docker's files name docker.io.
const dockerHub = "https://index.docker.io/v1/"

// AddCredentials looks in Docker's two places where nothing else has
// credentials for the name.
func AddCredentials(sys *types.SystemContext, named reference.Named) error {
	if sys.DockerAuthConfig != nil || sys.AuthFilePath != "" {
		return nil
	}
	known, err := knownCredentials(sys, named.Name())
	if err != nil {
		return errs.Wrap(err, "read the credentials of", reference.Domain(named))
	}
	if known != (types.DockerAuthConfig{}) {
		return nil
	}
	a, err := environmentAuth(named)
	if err == nil && a == nil {
		a, err = helperAuth(named)
	}
	if err == nil && a != nil {
		sys.DockerAuthConfig = a
		return nil
	}
	leaveUnreadable(sys)
	return err
}

// authFile is one of the files of credentials that the library reads by default.
type authFile struct {
	path   string
	legacy bool // of Docker before 1.7
}

// use makes the file the only one that is read.
func (f authFile) use(sys *types.SystemContext) {
	if f.legacy {
		sys.LegacyFormatAuthFilePath = f.path
	} else {
		sys.AuthFilePath = f.path
	}
}

// readableFiles are the library's usual places, in its order, without those that this process
// must not read. Nobody asked for them by name, but the library ends at the first of them. all
// says that none is left out.
//
// Without XDG_RUNTIME_DIR, and as root of the user's namespace, the first one is
// /run/containers/0, which belongs to the host's root.
func readableFiles() (files []authFile, all bool) {
	home := homedir.Get()
	dir := func(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }
	run := fmt.Sprintf("/run/containers/%d", os.Getuid())
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		run = filepath.Join(d, "containers")
	}
	files = []authFile{
		{path: filepath.Join(run, "auth.json")},
		{path: filepath.Join(dir("XDG_CONFIG_HOME", filepath.Join(home, ".config")), "containers", "auth.json")},
		{path: filepath.Join(dir("DOCKER_CONFIG", filepath.Join(home, ".docker")), "config.json")},
		{path: filepath.Join(home, ".dockercfg"), legacy: true},
	}
	n := len(files)
	files = slices.DeleteFunc(files, func(f authFile) bool {
		r, err := os.Open(f.path)
		if err == nil {
			r.Close()
		}
		return errors.Is(err, fs.ErrPermission)
	})
	return files, len(files) == n
}

// knownCredentials are those that the library finds for a registry or a repository, empty
// without. Of the usual places that it looks at, an unreadable one is passed over: then sys
// names the file that they are in.
func knownCredentials(sys *types.SystemContext, key string) (types.DockerAuthConfig, error) {
	files, all := readableFiles()
	if all || sys.DockerAuthConfig != nil || sys.AuthFilePath != "" || sys.DockerCompatAuthFilePath != "" {
		return config.GetCredentials(sys, key)
	}
	for _, f := range files {
		one := *sys
		f.use(&one)
		a, err := config.GetCredentials(&one, key)
		if err != nil {
			return a, err
		}
		if a != (types.DockerAuthConfig{}) {
			f.use(sys)
			return a, nil
		}
	}
	return types.DockerAuthConfig{}, nil
}

// leaveUnreadable keeps the library from files that it must not read, where nothing has
// credentials.
func leaveUnreadable(sys *types.SystemContext) {
	switch files, all := readableFiles(); {
	case all:
	case len(files) > 0:
		files[0].use(sys)
	default:
		sys.DockerAuthConfig = &types.DockerAuthConfig{} // nobody
	}
}

func serverKey(named reference.Named) string {
	if d := reference.Domain(named); d != "docker.io" {
		return d
	}
	return dockerHub
}

// environmentAuth reads DOCKER_AUTH_CONFIG: a config.json in the environment.
func environmentAuth(named reference.Named) (*types.DockerAuthConfig, error) {
	text := os.Getenv("DOCKER_AUTH_CONFIG")
	if text == "" {
		return nil, nil
	}
	var f dockerFile
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, errs.New(errs.Invalid, "cannot read DOCKER_AUTH_CONFIG: %w", err)
	}
	a, ok := f.Auths[serverKey(named)]
	if !ok {
		return nil, nil
	}
	plain, err := base64.StdEncoding.DecodeString(a.Auth)
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok && a.IdentityToken == "" {
		return nil, errs.New(errs.Invalid, "cannot read DOCKER_AUTH_CONFIG: the entry of %s is no base64 of USER:PASSWORD", serverKey(named))
	}
	return &types.DockerAuthConfig{Username: user, Password: password, IdentityToken: a.IdentityToken}, nil
}

// helperAuth asks the program that Docker's config.json names for all registries.
func helperAuth(named reference.Named) (*types.DockerAuthConfig, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		dir = filepath.Join(os.Getenv("HOME"), ".docker")
	}
	file := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	var f dockerFile
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		return nil, errs.Wrap(err, "read", file)
	}
	if f.CredsStore == "" {
		return nil, nil
	}
	program := "docker-credential-" + f.CredsStore
	c, err := client.Get(client.NewShellProgramFunc(program), serverKey(named))
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, errs.WithHint(errs.Wrap(err, "get credentials from", program), "install it, or take \"credsStore\" out of %s", file)
	case c.Username == "<token>":
		return &types.DockerAuthConfig{IdentityToken: c.Secret}, nil
	}
	return &types.DockerAuthConfig{Username: c.Username, Password: c.Secret}, nil
}
