// Reads twenty headers and matches the path; adds a request header with what it found.
package main

import (
	"fmt"
	"regexp"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

var order = regexp.MustCompile(`^/api/v[0-9]+/users/([0-9a-f-]+)/orders/([0-9]+)$`)

var names = func() (names [20]string) {
	for number := range names {
		names[number] = fmt.Sprintf("x-tag-%d", number+1)
	}
	return names
}()

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

func (*httpContext) OnHttpRequestHeaders(int, bool) types.Action {
	length := 0
	for _, name := range names {
		if value, err := proxywasm.GetHttpRequestHeader(name); err == nil {
			length += len(value)
		}
	}
	path, err := proxywasm.GetHttpRequestHeader(":path")
	if err != nil {
		proxywasm.LogCriticalf("reading :path: %v", err)
		return types.ActionContinue
	}
	if match := order.FindStringSubmatch(path); match != nil {
		if err := proxywasm.AddHttpRequestHeader("x-bench-match", fmt.Sprintf("%s/%d", match[2], length)); err != nil {
			proxywasm.LogCriticalf("adding a request header: %v", err)
		}
	}
	return types.ActionContinue
}
