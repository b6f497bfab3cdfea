// SPDX-License-Identifier: Apache-2.0

// Package shortname finds the complete names that a name without a registry stands
// for. It reads what registries.conf(5) says about them and nothing else of that file,
// without the image library: every command that names an image needs it, most of them
// need no registry.
package shortname

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/storage/pkg/configfile"
	"go.podman.io/storage/pkg/homedir"
	"go.podman.io/storage/pkg/unshare"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/conffile"
	"github.com/proa-containers/proa/storage/imagename"
)

// Conf describes registries.conf to the library's search.
func Conf() *configfile.File {
	return &configfile.File{Name: "registries", Extension: "conf",
		EnvironmentName: "CONTAINERS_REGISTRIES_CONF", UserId: unshare.GetRootlessUID()}
}

// CheckConf refuses a registries.conf that has gone missing: it may block
// registries and say where names lead.
func CheckConf() error { return conffile.Check(Conf()) }

// Candidates are the complete names that a name without a registry can
// stand for, the likeliest first: an alias of registries.conf alone, else its
// unqualified-search-registries, else docker.io as in Docker. Nobody is asked.
func Candidates(name string) ([]reference.Named, error) {
	named, err := imagename.Parse(name)
	if err != nil {
		return nil, err
	}
	if err := CheckConf(); err != nil {
		return nil, err
	}
	if !imagename.IsShort(name) {
		return []reference.Named{named}, nil
	}
	raw, err := reference.Parse(name)
	if err != nil {
		return nil, imagename.Bad(name, err)
	}
	short, ok := raw.(reference.Named)
	if !ok {
		return []reference.Named{named}, nil
	}
	registries, aliases, err := read()
	if err != nil {
		return nil, err
	}
	if alias := aliases[short.Name()]; alias != "" {
		n, err := imagename.Parse(alias + suffix(named))
		return []reference.Named{n}, err
	}
	var out []reference.Named
	for _, r := range registries {
		n, err := imagename.Parse(r + "/" + short.Name() + suffix(named))
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	if out == nil {
		out = []reference.Named{named}
	}
	return out, nil
}

// suffix is the tag or digest of a name with its separator.
func suffix(n reference.Named) string {
	switch t := n.(type) {
	case reference.Digested:
		return "@" + t.Digest().String()
	case reference.Tagged:
		return ":" + t.Tag()
	}
	return ""
}

// conf is the part of registries.conf, and of short-name-aliases.conf, that says
// what short names mean.
type conf struct {
	Search  []string          `toml:"unqualified-search-registries"`
	Aliases map[string]string `toml:"aliases"`
	// V1 is the first format of the file.
	V1 struct {
		Search, Insecure, Block *struct {
			Registries []string `toml:"registries"`
		}
	} `toml:"registries"`
}

// read reads all files: later ones replace the list of registries, and single
// aliases. An alias that stands for nothing takes away an earlier one. The aliases that
// podman remembers come last.
func read() (search []string, aliases map[string]string, err error) {
	aliases = map[string]string{}
	for item, err := range configfile.Read(Conf()) {
		if err != nil {
			return nil, nil, err
		}
		var c conf
		if _, err := toml.NewDecoder(item.Reader).Decode(&c); err != nil {
			return nil, nil, bad(item.Name, err)
		}
		if c.V1.Search != nil || c.V1.Insecure != nil || c.V1.Block != nil {
			return nil, nil, bad(item.Name, errors.New("registries.conf must be in v2 format but is in v1"))
		}
		if err := checkAliases(c.Aliases); err != nil {
			return nil, nil, bad(item.Name, err)
		}
		if c.Search != nil { // an empty list replaces, too
			search = c.Search
		}
		maps.Copy(aliases, c.Aliases)
	}
	remembered, err := rememberedFile()
	if err != nil {
		return nil, nil, err
	}
	// No lock: podman writes this small file in one call, and what is half there is
	// refused by the parser or is short of an alias for a moment.
	var c conf
	if _, err := toml.DecodeFile(remembered, &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, bad(remembered, err)
	}
	if err := checkAliases(c.Aliases); err != nil {
		return nil, nil, bad(remembered, err)
	}
	maps.Copy(aliases, c.Aliases)
	return search, aliases, nil
}

func bad(file string, err error) error {
	return errs.New(errs.Invalid, "loading registries configuration %q: %w", file, err)
}

// rememberedFile is where podman keeps the aliases that its user chose.
func rememberedFile() (string, error) {
	dir := "/var/cache"
	if unshare.GetRootlessUID() != 0 {
		var err error
		if dir, err = homedir.GetCacheHome(); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "containers/short-name-aliases.conf"), nil
}

// checkAliases refuses an alias that has a registry, and one that stands for a name
// without one, or with a tag or digest.
func checkAliases(aliases map[string]string) error {
	for name, value := range aliases {
		n, err := reference.Parse(name)
		if err != nil {
			return fmt.Errorf("invalid short name %q: %w", name, err)
		}
		if short, ok := n.(reference.Named); !ok || !reference.IsNameOnly(short) || hasRegistry(short) {
			return fmt.Errorf("invalid short name %q: must be a repository without registry, tag and digest", name)
		}
		if value == "" {
			continue
		}
		v, err := reference.Parse(value)
		if err != nil {
			return fmt.Errorf("invalid alias %q: %w", value, err)
		}
		if long, ok := v.(reference.Named); !ok || !reference.IsNameOnly(long) || !hasRegistry(long) {
			return fmt.Errorf("invalid alias %q: must be a registry and a repository without tag and digest", value)
		}
	}
	return nil
}

func hasRegistry(n reference.Named) bool {
	d := reference.Domain(n)
	return d == "localhost" || strings.ContainsAny(d, ".:")
}
