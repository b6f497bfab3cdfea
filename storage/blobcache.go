// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"reflect"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/pkg/blobinfocache"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/storage/registry"
)

// primeCache tells containers/image before a push what the image's own manifest
// knows: which compressed blob each layer came as, and in which repositories it
// lies. The push then sends nothing that the registry has, mounts layers from
// the other repository, and the pushed manifest stays the pulled one.
//
// It returns the repository (without its domain) that layers of the image can be
// mounted from, "" when there is none.
func (s *Store) primeCache(sys *types.SystemContext, at *registry.Place, img *Image, to reference.Named) (mountFrom string) {
	var repos []reference.Named
	for _, d := range img.RepoDigests {
		n, err := reference.ParseNormalizedNamed(d)
		if err != nil || reference.Domain(n) != reference.Domain(to) {
			continue
		}
		repos = append(repos, reference.TrimNamed(n))
	}
	if len(repos) == 0 {
		return ""
	}
	raw, err := s.RawManifest(img)
	if err != nil {
		return ""
	}
	m, err := manifest.FromBlob(raw, manifest.GuessMIMEType(raw))
	if err != nil || len(m.LayerInfos()) != len(img.DiffIDs) {
		return ""
	}
	cache := blobinfocache.DefaultCache(sys)
	scope := types.BICTransportScope{Opaque: reference.Domain(at.Of(to))}
	for i, l := range m.LayerInfos() {
		diffID := digest.Digest(img.DiffIDs[i])
		cache.RecordDigestUncompressedPair(l.Digest, diffID)
		recordCompression(cache, l.Digest, l.MediaType)
		for _, r := range repos {
			cache.RecordKnownLocation(docker.Transport, scope, l.Digest, types.BICLocationReference{Opaque: at.Of(r).Name()})
		}
	}
	if slices.ContainsFunc(repos, func(r reference.Named) bool { return r.Name() == to.Name() }) {
		return ""
	}
	return reference.Path(repos[0])
}

// recordCompression notes how a blob is compressed. The library's method takes a
// type of an internal package, which only reflection can make; should a later
// version lack it, a push compresses layers again and is otherwise the same.
func recordCompression(cache types.BlobInfoCache, blob digest.Digest, mediaType string) {
	algorithm := "gzip"
	switch {
	case strings.HasSuffix(mediaType, "zstd"):
		algorithm = "zstd"
	case strings.HasSuffix(mediaType, ".tar"):
		algorithm = "uncompressed"
	}
	m := reflect.ValueOf(cache).MethodByName("RecordDigestCompressorData")
	if !m.IsValid() || m.Type().NumIn() != 2 || m.Type().In(0) != reflect.TypeOf(blob) || m.Type().In(1).Kind() != reflect.Struct {
		return
	}
	data := reflect.New(m.Type().In(1)).Elem()
	for field, v := range map[string]string{"BaseVariantCompressor": algorithm, "SpecificVariantCompressor": "unknown"} {
		f := data.FieldByName(field)
		if f.Kind() != reflect.String {
			return
		}
		f.SetString(v)
	}
	m.Call([]reflect.Value{reflect.ValueOf(blob), data})
}
