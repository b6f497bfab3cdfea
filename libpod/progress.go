// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"io"

	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/progress"
)

// The progress of a transfer is storage's; front doors, which see nothing
// below libpod, know it by these names.
type (
	Progress   = storage.Progress
	LayerEvent = progress.Event
)

// The states of a LayerEvent that displays tell apart.
const (
	LayerWaiting     = progress.Waiting
	LayerDownloading = progress.Downloading
	LayerExtracting  = progress.Extracting
	LayerDone        = progress.Done
	LayerExists      = progress.Exists
	LayerPushing     = progress.Pushing
)

// PlainProgress writes Docker's lines for an output that is no terminal.
func PlainProgress(w io.Writer) Progress { return progress.Plain(w) }
