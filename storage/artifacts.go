// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/artifact"
	"github.com/proa-containers/proa/storage/guard"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/progress"
	"github.com/proa-containers/proa/storage/registry"
)

// Artifacts are one user's OCI artifacts, with the way to registries that
// images go. All of it works outside of the user's namespace.
type Artifacts struct {
	*artifact.Store
	s *Store
}

// OpenArtifacts prepares them; nothing is read or created yet.
func OpenArtifacts(d dirs.Dirs) *Artifacts {
	return &Artifacts{artifact.Open(d.Artifacts(), imagename.Normalize), Open(d)}
}

// Pull fetches an artifact, in place of what had its name, and returns its
// digest. A killed Pull leaves nothing that counts.
func (a *Artifacts) Pull(ctx context.Context, name string, ro registry.RemoteOptions, p Progress) (d digest.Digest, err error) {
	named, from, sys, err := a.remote(name, ro, false)
	if err != nil {
		return "", err
	}
	policy, err := guard.Policy(sys)
	if err != nil {
		return "", err
	}
	defer func() { _ = policy.Destroy() }()
	stage, err := a.Stage()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stage.End()) }()
	to, err := ocilayout.NewReference(stage.Dir(), named.String())
	if err != nil {
		return "", err
	}
	sys.BigFilesTemporaryDir = stage.Dir()
	anything, err := guard.Anything() // the source asks the other
	if err != nil {
		return "", err
	}
	defer func() { _ = anything.Destroy() }()
	raw, err := (&transfer{sys, anything, &progress.AsPulled}).run(ctx, ro, to, guard.Source{ImageReference: from, Policy: policy, What: "artifact"}, p)
	if err != nil {
		return "", errs.Wrap(registry.Explain(err, named), "pull artifact", reference.FamiliarString(named))
	}
	d, err = stage.Commit(named.String(), raw)
	return d, errs.Wrap(err, "pull artifact", reference.FamiliarString(named))
}

// Push sends an artifact to the registry of its name and returns its digest.
func (a *Artifacts) Push(ctx context.Context, name string, ro registry.RemoteOptions, p Progress) (digest.Digest, error) {
	named, to, sys, err := a.remote(name, ro, true)
	if err != nil {
		return "", err
	}
	found, err := a.Find(named.String())
	if err != nil {
		return "", err
	}
	policy, err := guard.Anything()
	if err != nil {
		return "", err
	}
	defer func() { _ = policy.Destroy() }()
	dir, release, err := a.Layout()
	if err != nil {
		return "", err
	}
	defer release()
	from, err := ocilayout.NewReference(dir, found.Name)
	if err != nil {
		return "", err
	}
	raw, err := (&transfer{sys, policy, &progress.AsPushed}).run(ctx, ro, to, guard.Source{ImageReference: from, Policy: policy, What: "artifact"}, p)
	if err != nil {
		return "", registry.PushError(err, named)
	}
	return digest.FromBytes(raw), nil
}

// remote is where an artifact of that name lies. Pulls go through mirrors, as
// the library reads registries.conf for them; for pushes Target does.
func (a *Artifacts) remote(name string, ro registry.RemoteOptions, push bool) (reference.Named, types.ImageReference, *types.SystemContext, error) {
	named, err := imagename.Parse(name)
	if err != nil {
		return nil, nil, nil, err
	}
	sys, err := a.s.system(ro, "")
	if err != nil {
		return nil, nil, nil, err
	}
	if !push {
		ref, err := registry.Source(sys, named)
		return named, ref, sys, err
	}
	p, err := registry.Target(sys, named)
	if err != nil {
		return nil, nil, nil, err
	}
	ref, err := docker.NewReference(p.Of(named))
	if err != nil {
		return nil, nil, nil, imagename.Bad(name, err)
	}
	return named, ref, sys, nil
}

// transfer copies an artifact as it is, byte for byte: its digest is its
// identity.
type transfer struct {
	sys    *types.SystemContext
	policy *signature.PolicyContext
	words  *progress.Wording
}

func (t *transfer) run(ctx context.Context, ro registry.RemoteOptions, to, from types.ImageReference, p Progress) (raw []byte, err error) {
	opts := &copy.Options{SourceCtx: t.sys, DestinationCtx: t.sys, PreserveDigests: true, DownloadForeignLayers: true}
	stop := progress.Report(opts, t.words, imgspec.DescriptorEmptyJSON.Digest.Encoded(), "", &progress.Teller{To: p})
	defer stop()
	err = ro.Retrying(ctx, func() error {
		return registry.Patiently(ctx, func(ctx context.Context) error {
			raw, err = copy.Image(ctx, t.policy, to, from, opts)
			return err
		})
	})
	return raw, err
}
