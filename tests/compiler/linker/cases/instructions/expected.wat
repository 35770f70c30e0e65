(module
  (type (func (param i32) (result i32)))
  (type (func (param i32 i32) (result i32)))
  (type (func (param i32 i32) (result i32 i32)))
  (func (; 0 ;) (; swap ;) (type 2)
    (local i32)
    (local i64 i64)
    local.get 1
    local.get 0)
  (func (; 1 ;) (type 1)
    local.get 0
    local.get 1
    block (type 2)
      call 0
    end
    loop (type 1)
      i32.sub
    end
    block (result i32)
      i32.const 100
    end
    local.get 0
    i32.eqz
    if (type 1)
      i32.add
    else
      i32.mul
    end
    block
      nop
    end)
  (func (; 2 ;) (type 0)
    block
      block
        block
          local.get 0
          br_table 0 1 2
        end
        i32.const 10
        return
      end
      i32.const 11
      return
    end
    i32.const 12
    i32.const 13
    local.get 0
    i32.const 2
    i32.gt_u
    select (result i32))
  (func (; 3 ;) (type 0)
    i32.const -65536
    i64.const -2
    i64.store offset=65536 align=8
    i32.const 8
    f32.const 0x1.8000000000000p+0
    f32.store offset=0 align=4
    i32.const 16
    f64.const -0x1.2000000000000p+1
    f64.store offset=0 align=8
    i32.const 0
    local.get 0
    i32.store16 offset=2 align=1
    i32.const 0
    i32.load offset=0 align=4
    i32.const 16
    f64.load offset=0 align=8
    i32.trunc_sat_f64_s
    i32.add)
  (memory 1)
  (export "choose" (func 2))
  (export "main" (func 1))
  (export "memory" (func 3))
)
