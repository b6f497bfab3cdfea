// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"io"

	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/artifact"
)

// Artifact is one OCI artifact in the store.
type Artifact = artifact.Artifact

// ArtifactAddOptions describe the artifact that ArtifactAdd makes.
type ArtifactAddOptions = artifact.AddOptions

// ArtifactExtractOptions choose one file of an artifact.
type ArtifactExtractOptions = artifact.ExtractOptions

// Artifacts belong to the user alone, so none of this enters the namespace.
func (e *Engine) artifacts() *storage.Artifacts { return storage.OpenArtifacts(e.dirs) }

// Artifacts lists the artifacts, in the order in which they came.
func (e *Engine) Artifacts(context.Context) ([]Artifact, error) { return e.artifacts().List() }

// ArtifactInspect returns an artifact: by name, digest or the start of one.
func (e *Engine) ArtifactInspect(_ context.Context, ref string) (*Artifact, error) {
	return e.artifacts().Find(ref)
}

// ArtifactAdd makes an artifact of files and returns its digest. Kind Exists:
// one has the name, and the options allow neither to replace nor to append.
func (e *Engine) ArtifactAdd(_ context.Context, name string, files []string, o ArtifactAddOptions) (string, error) {
	d, err := e.artifacts().Add(name, files, o)
	return d.String(), err
}

// ArtifactExtract writes files of an artifact into a directory, or one to a
// path.
func (e *Engine) ArtifactExtract(_ context.Context, ref, target string, o ArtifactExtractOptions) error {
	return e.artifacts().Extract(ref, target, o)
}

// ArtifactPull fetches an artifact, in place of what had its name, and returns
// its digest. A killed ArtifactPull leaves nothing that counts.
func (e *Engine) ArtifactPull(ctx context.Context, name string, r RemoteOptions, progress io.Writer) (string, error) {
	d, err := e.artifacts().Pull(ctx, name, r, e.progress(progress))
	return d.String(), err
}

// ArtifactPush sends an artifact to the registry of its name and returns its
// digest.
func (e *Engine) ArtifactPush(ctx context.Context, name string, r RemoteOptions, progress io.Writer) (string, error) {
	d, err := e.artifacts().Push(ctx, name, r, e.progress(progress))
	return d.String(), err
}

// ArtifactRemove takes an artifact's name away, or with a digest all its names,
// and returns its digest.
func (e *Engine) ArtifactRemove(_ context.Context, ref string) (string, error) {
	d, err := e.artifacts().Remove(ref)
	return d.String(), err
}

// ArtifactRemoveAll removes all artifacts and returns their digests.
func (e *Engine) ArtifactRemoveAll(context.Context) (out []string, err error) {
	list, err := e.artifacts().RemoveAll()
	for _, d := range list {
		out = append(out, d.String())
	}
	return out, err
}
