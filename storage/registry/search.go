// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"strings"

	"github.com/docker/distribution/registry/api/errcode"
	"github.com/sirupsen/logrus"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
)

// SearchResult is one repository that a registry found.
type SearchResult struct {
	Registry    string
	Name        string
	Description string
	Stars       int
	Official    bool
	Automated   bool
}

// SearchOptions say where to look.
type SearchOptions struct {
	RemoteOptions
	Limit    int  // per registry; 0: 25
	ListTags bool // the tags of one repository instead
}

// Search asks the registry that the term names, else docker.io.
func Search(ctx context.Context, term string, o SearchOptions) ([]SearchResult, error) {
	sys, err := o.SystemContext()
	if err != nil {
		return nil, err
	}
	registry, query := "docker.io", term
	if first, rest, ok := strings.Cut(term, "/"); ok && !imagename.IsShort(term) {
		registry, query = first, rest
	}
	if o.ListTags {
		return searchTags(ctx, sys, term)
	}
	limit := o.Limit
	if limit == 0 {
		limit = 25
	}
	at, err := searchPlace(sys, registry)
	if err != nil {
		return nil, err
	}
	var found []docker.SearchResult
	// The library logs as an error what it also returns.
	if level := logrus.GetLevel(); level == logrus.ErrorLevel {
		logrus.SetLevel(logrus.FatalLevel)
		defer logrus.SetLevel(level)
	}
	err = Within(ctx, func(ctx context.Context) (err error) {
		found, err = docker.SearchRegistry(ctx, sys, at, query, limit)
		return err
	})
	if err != nil {
		return nil, explainSearch(err, registry)
	}
	var out []SearchResult
	for _, f := range found {
		out = append(out, SearchResult{Registry: registry, Name: f.Name, Description: f.Description, Stars: f.StarCount, Official: f.IsOfficial, Automated: f.IsAutomated})
	}
	return out[:min(len(out), limit)], nil
}

// explainSearch is Explain for a question about no single repository.
func explainSearch(err error, registry string) error {
	named, nerr := imagename.Parse(registry + "/x")
	if nerr != nil {
		return errs.Wrap(err, "search", registry)
	}
	short := Told(err, named)
	explained := Explain(err, named)
	kind := errs.KindOf(explained)
	var code errcode.ErrorCoder
	if errors.As(err, &code) && code.ErrorCode() == errcode.ErrorCodeUnsupported {
		kind = errs.NotFound
	}
	switch kind {
	case errs.Unauthorized:
		return errs.WithHint(errs.New(errs.Unauthorized, "registry %s denies the search: %w", registry, short),
			"proa login %s", registry)
	case errs.NotFound:
		return errs.WithHint(errs.New(errs.NotFound, "registry %s has no search: %w", registry, short),
			"proa search --list-tags %s/REPOSITORY shows the tags of one repository", registry)
	default:
		return errs.Wrap(explained, "search", registry)
	}
}

// searchPlace is where registries.conf says that a registry is.
func searchPlace(sys *types.SystemContext, registry string) (string, error) {
	named, err := imagename.Parse(registry + "/x/y")
	if err != nil {
		return "", err
	}
	p, err := PlaceOf(sys, named)
	if err != nil {
		return "", err
	}
	if at := p.Of(named); reference.Domain(at) != reference.Domain(named) {
		return reference.Domain(at), AddCredentials(sys, at)
	}
	return registry, AddCredentials(sys, named)
}

// Tags are the tags of the repository of ref, watched like any other call. The
// error is the library's: Explain makes it readable.
func Tags(ctx context.Context, sys *types.SystemContext, ref types.ImageReference) (tags []string, err error) {
	err = Within(ctx, func(ctx context.Context) error {
		tags, err = docker.GetRepositoryTags(ctx, sys, ref)
		return err
	})
	return tags, err
}

func searchTags(ctx context.Context, sys *types.SystemContext, name string) ([]SearchResult, error) {
	named, err := imagename.Parse(name)
	if err != nil {
		return nil, err
	}
	at, err := Target(sys, named)
	if err != nil {
		return nil, err
	}
	ref, err := docker.NewReference(at.Of(named))
	if err != nil {
		return nil, imagename.Bad(name, err)
	}
	tags, err := Tags(ctx, sys, ref)
	if err != nil {
		return nil, Explain(err, named)
	}
	var out []SearchResult
	for _, t := range tags {
		out = append(out, SearchResult{Registry: reference.Domain(named), Name: named.Name() + ":" + t})
	}
	return out, nil
}
