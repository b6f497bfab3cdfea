// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"go.podman.io/image/v5/pkg/tlsclientconfig"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
)

// silence is how long a server may send nothing.
var silence = 30 * time.Second

// Web is how servers are reached that have files for a build. Nil is the usual way.
type Web struct {
	client  *http.Client
	certDir string
	verify  *bool
}

// NewWeb trusts the authorities of certDir as well, and shows its certificates to servers that
// ask for one, as with registries. verify may say that no certificate is looked at.
func NewWeb(certDir string, verify *bool) (*Web, error) {
	if certDir == "" && verify == nil {
		return nil, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: verify != nil && !*verify} //nolint:gosec // the user said so
	if certDir != "" {
		if err := tlsclientconfig.SetupCertificates(certDir, transport.TLSClientConfig); err != nil {
			return nil, errs.New(errs.Invalid, "cannot read the certificates: %v", err)
		}
	}
	return &Web{&http.Client{Transport: transport}, certDir, verify}, nil
}

func (w *Web) do(req *http.Request) (*http.Response, error) {
	if w == nil {
		return http.DefaultClient.Do(req)
	}
	return w.client.Do(req)
}

// get asks for a URL. The caller closes the response's body, whose reader fails
// when the server falls silent. Kind Unavailable: there is no answer, or another
// one than 200.
func (web *Web) get(ctx context.Context, address string) (*http.Response, error) {
	failed := func(err error) error {
		var request *url.Error
		if errors.As(err, &request) {
			err = request.Err // it names the URL once more
		}
		return &errs.Error{Op: "download", Kind: errs.Unavailable, Object: redact.URL(address), Err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel()
		return nil, errs.New(errs.Invalid, "bad URL %q", redact.URL(address))
	}
	w := &watchedBody{cancel: cancel, failed: failed}
	w.timer = time.AfterFunc(silence, func() { w.silent.Store(true); cancel() })
	resp, err := web.do(req)
	if err != nil {
		return nil, errors.Join(w.explain(err), w.Close())
	}
	w.body = resp.Body
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(failed(errs.New(errs.Unavailable, "the server answered %s", resp.Status)), w.Close())
	}
	resp.Body = w
	return resp, nil
}

// watchedBody ends a download from which nothing comes any more.
type watchedBody struct {
	body   io.ReadCloser // nil: no answer yet
	timer  *time.Timer
	cancel func()
	silent atomic.Bool
	failed func(error) error
}

func (w *watchedBody) Read(p []byte) (int, error) {
	w.timer.Reset(silence)
	n, err := w.body.Read(p)
	w.timer.Stop() // the reader may take its time
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.explain(err)
	}
	return n, err
}

func (w *watchedBody) explain(err error) error {
	if w.silent.Load() {
		err = errs.New(errs.Unavailable, "the server sent nothing for %s", silence)
	}
	return w.failed(err)
}

// Close implements io.Closer.
func (w *watchedBody) Close() error {
	w.timer.Stop()
	w.cancel()
	if w.body == nil {
		return nil
	}
	return w.body.Close()
}
