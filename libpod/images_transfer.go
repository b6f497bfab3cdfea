// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"io"

	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/registry"
)

// PushOptions say where and how an image goes.
type PushOptions struct {
	RemoteOptions
	Destination string // empty: the image's name; or a name, or TRANSPORT:REFERENCE
	AllTags     bool   // every local name of the repository
	Format      string // oci, v2s2 or empty: as the image is
	Compression string // gzip, zstd, zstd:chunked or empty
	Level       *int
	Sign        SignOptions
	Encrypt     *EncryptKeys // nil: layers stay readable
	EncryptOnly []int        // of the layers; negative from the last; empty: all
	Quiet       bool
	Progress    io.Writer `json:"-"`
}

// Pushed is what one push put at its destination.
type Pushed struct {
	Name   string // familiar, or TRANSPORT:REFERENCE
	Digest string
	Size   int // bytes of the manifest
}

type pushRequest struct {
	Ref     string
	Options PushOptions
}

// Push copies an image to a registry, an archive or a directory.
func (e *Engine) Push(ctx context.Context, ref string, o PushOptions) ([]Pushed, error) {
	var p storage.Progress
	if !o.Quiet {
		p = e.progress(o.Progress)
	}
	dest := o.Destination
	if dest == "" {
		dest = ref
	}
	sign, err := e.gpgSigner(ctx, o.Sign, dest)
	if err != nil {
		return nil, err
	}
	var done []storage.Pushed
	if err := e.inside(ctx, "push", pushRequest{ref, o}, &done, nil, p); err != nil {
		return nil, err
	}
	var list []Pushed
	for i, d := range done {
		list = append(list, Pushed{Name: d.Name, Digest: d.Digest.String(), Size: d.Size})
		if err := sign(&done[i], p); err != nil {
			return list, err
		}
	}
	return list, nil
}

func opPush(ctx context.Context, c *insideCall) (any, error) {
	var r pushRequest
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	o := r.Options
	return c.e.images.Push(ctx, r.Ref, storage.PushOptions{RemoteOptions: o.RemoteOptions, Destination: o.Destination, AllTags: o.AllTags,
		Format: o.Format, Compression: o.Compression, Level: o.Level, Sign: o.Sign, Encrypt: o.Encrypt, EncryptOnly: o.EncryptOnly, Progress: c.progress})
}

// SaveOptions say what an archive of images is to be.
type SaveOptions struct {
	Format string    // docker-archive (the default), oci-archive, oci-dir, docker-dir
	Path   string    // absolute; empty: Output
	Output io.Writer `json:"-"` // archives only
	// Compress the layers (docker-dir), or leave them as they are (OCI).
	Compress, Uncompressed bool
}

type saveRequest struct {
	Refs    []string
	Options SaveOptions
}

// Save writes images, with the names by which they are asked for, into one
// archive or directory.
func (e *Engine) Save(ctx context.Context, refs []string, o SaveOptions) error {
	for _, r := range refs { // before anything is written
		if _, err := e.images.Resolve(r); err != nil {
			return err
		}
	}
	return e.insideStreams(ctx, "save", saveRequest{refs, o}, nil, stdio{out: o.Output}, nil)
}

func opSave(ctx context.Context, c *insideCall) (any, error) {
	var r saveRequest
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	return nil, c.e.images.Save(ctx, r.Refs, storage.SaveOptions{Format: r.Options.Format, Path: r.Options.Path, Output: c.stdout,
		Compress: r.Options.Compress, Uncompressed: r.Options.Uncompressed})
}

// LoginOptions name an account at a registry.
type LoginOptions struct {
	Registry       string // empty: docker.io
	Username       string
	Password       string
	AuthFile       string
	CompatAuthFile string // of Docker's kind: config.json; empty: none
	CertDir        string
	TLSVerify      *bool
}

// Login asks the registry whether it knows the account and keeps the
// credentials. It returns where they are kept.
func (e *Engine) Login(ctx context.Context, o LoginOptions) (string, error) {
	return registry.Login(ctx, registry.LoginOptions(o))
}

// LoggedIn is the user name known for a registry, "" without one.
func (e *Engine) LoggedIn(o LoginOptions) (string, error) {
	return registry.LoggedIn(registry.LoginOptions(o))
}

// Credentials are the user name and the password known for a registry.
func (e *Engine) Credentials(o LoginOptions) (user, password string, err error) {
	return registry.Credentials(registry.LoginOptions(o))
}

// Logout forgets the credentials of a registry; all: of every one. Kind
// NotFound: there were none.
func (e *Engine) Logout(o LoginOptions, all bool) error {
	if all {
		return registry.LogoutAll(registry.LoginOptions(o))
	}
	return registry.Logout(registry.LoginOptions(o))
}

// SearchOptions say where to look for repositories.
type SearchOptions struct {
	RemoteOptions
	Limit    int  // per registry; 0: 25
	ListTags bool // the tags of one repository instead
}

// SearchResult is one repository that a registry found.
type SearchResult = registry.SearchResult

// Search asks the registry that the term names, else docker.io.
func (e *Engine) Search(ctx context.Context, term string, o SearchOptions) ([]SearchResult, error) {
	return registry.Search(ctx, term, registry.SearchOptions(o))
}

// TreeLayer is one layer of an image as `image tree` shows it.
type TreeLayer = index.TreeLayer

// ImageTree lists an image's layers, the lowest first, or with children the
// layers of other images that lie on its topmost one.
func (e *Engine) ImageTree(ref string, children bool) (ImageSummary, []TreeLayer, error) {
	list := e.images.Tree
	if children {
		list = e.images.Requires
	}
	img, layers, err := list(ref)
	if err != nil {
		return ImageSummary{}, nil, err
	}
	return imageSummary(&img.Summary), layers, nil
}
