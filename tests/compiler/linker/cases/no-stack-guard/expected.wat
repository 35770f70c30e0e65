(module
  (type (func))
  (type (func (result i32)))
  (type (func (param i32) (result i32)))
  (func (; 0 ;) (; note ;) (type 0)
    i32.const 1000
    global.get 0
    i32.lt_u
    if
      i32.const 1000
      global.set 0
    end)
  (func (; 1 ;) (; recurse ;) (type 2)
    call 0
    local.get 0
    if (result i32)
      i32.const 1
      local.get 0
      i32.const 1
      i32.sub
      call 1
      i32.add
    else
      i32.const 0
    end)
  (func (; 2 ;) (type 2)
    local.get 0
    call 1)
  (func (; 3 ;) (type 1)
    i32.const 1000)
  (func (; 4 ;) (type 1)
    global.get 0)
  (global (mut i32) (i32.const 1000))
  (export "lowest" (func 4))
  (export "main" (func 2))
  (export "sp" (func 3))
)
