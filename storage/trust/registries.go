// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"io"
	"strings"

	"go.podman.io/storage/pkg/configfile"
	"go.podman.io/storage/pkg/unshare"
	"go.yaml.in/yaml/v3"

	"github.com/proa-containers/proa/pkg/errs"
)

// Registries is what the files of registries.d say about signatures. The
// library that fetches them reads the same files and tells nobody what it found.
type Registries struct {
	Default    *Namespace           `yaml:"default-docker"`
	Namespaces map[string]Namespace `yaml:"docker"`
}

// Namespace is one entry.
type Namespace struct {
	Lookaside        string `yaml:"lookaside"`
	LookasideStaging string `yaml:"lookaside-staging"`
	// The older names of the two.
	SigStore        string `yaml:"sigstore"`
	SigStoreStaging string `yaml:"sigstore-staging"`
	Attachments     *bool  `yaml:"use-sigstore-attachments"`
}

// ReadRegistries reads a directory, or with "" the user's and the system's.
func ReadRegistries(dir string) (*Registries, error) {
	conf := &configfile.File{
		Name: "registries", Extension: "yaml", DoNotLoadMainFiles: true, DoNotUseExtensionForConfigName: true,
		CustomConfigFileDropInDirectory: dir, UserId: unshare.GetRootlessUID(),
	}
	all := &Registries{Namespaces: map[string]Namespace{}}
	for item, err := range configfile.Read(conf) {
		if err != nil {
			return nil, errs.Wrap(err, "read", "registries.d")
		}
		data, err := io.ReadAll(item.Reader)
		if err != nil {
			return nil, errs.Wrap(err, "read", item.Name)
		}
		var one Registries
		if err := yaml.Unmarshal(data, &one); err != nil {
			return nil, errs.WithHint(errs.Wrap(errs.New(errs.Invalid, "%w", err), "read", item.Name), "correct the file; see containers-registries.d(5)")
		}
		if one.Default != nil {
			all.Default = one.Default
		}
		for name, ns := range one.Namespaces {
			all.Namespaces[name] = ns
		}
	}
	return all, nil
}

// Store is where the signatures of a registry, namespace or image are read, ""
// where nothing is configured.
func (r *Registries) Store(name string) string {
	for _, ns := range r.of(name) {
		if ns.Lookaside != "" {
			return ns.Lookaside
		}
		if ns.SigStore != "" {
			return ns.SigStore
		}
	}
	return ""
}

// Attachments says whether sigstore signatures lie beside the image in its
// registry.
func (r *Registries) Attachments(name string) bool {
	for _, ns := range r.of(name) {
		if ns.Attachments != nil {
			return *ns.Attachments
		}
	}
	return false
}

// of are the entries for a name, the closest first.
func (r *Registries) of(name string) []Namespace {
	var out []Namespace
	for _, scope := range parents(name) {
		if ns, ok := r.Namespaces[scope]; ok {
			out = append(out, ns)
		}
	}
	if r.Default != nil {
		out = append(out, *r.Default)
	}
	return out
}

// parents are the scopes that a name lies in, the closest first: itself, without
// its tag, the namespaces, the registry, and the wildcards for the registry.
func parents(name string) []string {
	out := []string{name}
	if i := strings.LastIndexAny(name, ":@"); i > strings.LastIndexByte(name, '/') && strings.Contains(name, "/") {
		name = name[:i]
		out = append(out, name)
	}
	for i := strings.LastIndexByte(name, '/'); i >= 0; i = strings.LastIndexByte(name, '/') {
		name = name[:i]
		out = append(out, name)
	}
	host, _, _ := strings.Cut(name, ":")
	for i := strings.IndexByte(host, '.'); i >= 0; i = strings.IndexByte(host, '.') {
		host = host[i+1:]
		out = append(out, "*."+host)
	}
	return out
}
