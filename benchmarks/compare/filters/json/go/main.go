// Lets a request through only if its body is a JSON object with some keys; answers 403 to all others.
package main

import (
	"encoding/json"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

var required = []string{"id", "token", "user"}

func main() {}

func init() {
	proxywasm.SetVMContext(&vmContext{})
}

type vmContext struct {
	types.DefaultVMContext
}

func (*vmContext) NewPluginContext(uint32) types.PluginContext {
	return &pluginContext{}
}

type pluginContext struct {
	types.DefaultPluginContext
}

func (*pluginContext) NewHttpContext(uint32) types.HttpContext {
	return &httpContext{}
}

type httpContext struct {
	types.DefaultHttpContext
}

func (*httpContext) OnHttpRequestBody(size int, endOfStream bool) types.Action {
	if !endOfStream {
		return types.ActionPause
	}
	body, err := proxywasm.GetHttpRequestBody(0, size)
	if err == nil && valid(body) {
		return types.ActionContinue
	}
	if err := proxywasm.SendHttpResponse(403, nil, []byte("invalid body\n"), -1); err != nil {
		proxywasm.LogCriticalf("answering: %v", err)
	}
	return types.ActionPause
}

// Only the outermost object is taken apart; the values of its keys are checked and kept as they are.
func valid(body []byte) bool {
	var document map[string]json.RawMessage
	if json.Unmarshal(body, &document) != nil {
		return false
	}
	for _, key := range required {
		if _, there := document[key]; !there {
			return false
		}
	}
	return true
}
