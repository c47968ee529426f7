package content

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAReplyIsOneKibibyteOfJSON(t *testing.T) {
	for _, kind := range []Kind{{Chat: true, Model: "m"}, {Model: "m"}} {
		reply := kind.Reply()
		if len(reply) != replyBytes || !json.Valid([]byte(reply)) {
			t.Errorf("%d bytes: %s", len(reply), reply)
		}
	}
}

func TestEventsHaveAnEnginesSizeAndForm(t *testing.T) {
	for _, kind := range []Kind{{Chat: true, Model: "bench-model"}, {Model: "bench-model"}} {
		for n := range 20 {
			event := kind.Event(n, 20)
			data, found := strings.CutPrefix(strings.TrimSuffix(event, "\n\n"), "data: ")
			if !found || !json.Valid([]byte(data)) || len(event) < 190 || len(event) > 270 {
				t.Errorf("%d bytes: %s", len(event), event)
			}
		}
	}
}

func TestAStreamsSumIsThatOfItsBytes(t *testing.T) {
	kind := Kind{Chat: true, Model: "m"}
	whole := kind.Event(0, 2) + kind.Event(1, 2) + kind.Usage(2) + Done
	if Sum(0, []byte(whole)) != kind.StreamSum(2, true) {
		t.Error("the sums differ")
	}
}
