(module
  (type (func (result i32)))
  (type (func (param i32) (result i32)))
  (func (; 0 ;) (type 0)
    global.get 0
    i32.const 900
    i32.lt_u)
  (func (; 1 ;) (type 1)
    global.get 0
    i32.const 20
    i32.sub
    global.set 0
    call 0
    if (result i32)
      i32.const -1
    else
      local.get 0
      call 4
    end
    global.get 0
    i32.const 20
    i32.add
    global.set 0)
  (func (; 2 ;) (type 1)
    local.get 0
    call 1)
  (func (; 3 ;) (type 0)
    global.get 0)
  (func (; 4 ;) (; hash ;) (type 1)
    (local i32)
    local.get 0
    i32.eqz
    if
      i32.const 7
      return
    end
    local.get 0
    i32.const 1
    i32.sub
    call 1
    local.set 1
    local.get 1
    i32.const -1
    i32.eq
    if
      i32.const -1
      return
    end
    local.get 1
    i32.const 1
    i32.add)
  (global (mut i32) (i32.const 1000))
  (export "main" (func 2))
  (export "sp" (func 3))
)
