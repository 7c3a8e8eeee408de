"""A made SAS table of Kellgren-Lawrence grades, for the tests that read one."""

import base64
import zlib

# A SAS7BDAT table of six made rows (zlib, base 64), written with ReadStat's own SAS writer:
# ID, SIDE, READPRJ, V00XRKL, v00BARCDBU = 0000099 1 15 2, 0000099 2 15 0, 0000099 2 37 1,
# 9000100 1 15 .A, 9000100 1 42 3, 9000100 2 15 missing; barcodes 016600839603 and ...604.
SAS_TABLE = zlib.decompress(
    base64.b64decode(
        "eNrtmc9rE0EUx2fzc1tWTWjAIkFD7aFCXWbcdO2C0GzNitEoJYmSQ8BcBAXRk9KbeNaTJxX/CMGboIgXvYl48ZC/wFNP"
        "/qxdJ7tvNjvPxqZKisX5kGX2fffNmx+Z3bzJEjLg1cc73aeF/Nvn93Uy8Zrdmz6Uy1szxLK0BNNClwIhSU3SLe2wRQoF"
        "UkpqIk7TbZZO1epe1W25Ta9VGgbZgn79mF/3yaP3bqyUyYWHhmTHpGXKzi3Ur16/uRrTLZNRkx5lzKYmYybD4VYX7Ut2"
        "WZK69fM30uLA/g+e9TZQPxUKhUKhUCgUCoVCofhneDjYt0rcFTvcxBTZw4sPRmjOJWW/l6BPo/pXJsOynZB1A/SOEGDD"
        "/mYC9vxI74B+DelF0CtI7+lIBx4P0TtD9OIQvZf9vY66A6wtwUmF9nEctlCizLYpXbQcm1qRYxR2NL+1JfCzjm/qB+2+"
        "+HLb4W6Mf6R4Zdw/vQJ+5WOb+kG77+LxtvOPjkKhUCh2go3vfoCq/4f1w+r+PNizUKZJlv++iwQpxQ/f71tJXiNefx3q"
        "t8HOQRmkCqlBYhSkGimN7Ac7Cdd1dP2AyKECUU6soCmfRsosCT3mgh4SMh+2S8pQniCTaLw/IMbpgVTA72yCdzotb6XG"
        "E7Vmreo1PLe60jhDLlLabpytk1uULruNk9XlCyj4ujwXqfhcjAEjK38HIh/LoPwsg8auof5h20d+aeSXRmtHQ+PENizR"
        "LdfotxH9vvp/t+Z3G5848XkXfOYEmS3Y+9D1PJ2Bu0NeBxgcVzwDDhJ0UwNH0Drx/7PvY1z70e0i7rMEsg1k70X2FLL1"
        "sY1Uj54p/dfqg3aM4Lw4Yssp3lPtlyf55egsM3xqAn4C9acVkg=="
    )
)
