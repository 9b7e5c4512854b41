"""Write tests/boards/: what fifteen machines show under `/`, with the truth beside each tree.

Run `python tests/support/boards_build.py`; each board's folder is written anew. A test points
EDGEBENCH_SYSROOT at one and compares what the code says with the folder's truth.json.

Replayed, not measured: the trees are built from documentation, no board of this project was read.
- INA3221: the kernel's hwmon/ina3221 (in1-3 mV, in4-6 and in7 uV over the shunts, curr1-4 mA);
  L4T 32's iio driver ina3221x (mW, and a *_trigger_* file beside each reading). INA238: the
  kernel's hwmon/ina238 (power1 in uW), label as L4T sets it. Totals: NVIDIA's developer guides.
  AGX Orin's rails and some of the Pi 5's are published samples, the other numbers are made up.
- nvpmodel.conf, nv_tegra_release, devfreq and thermal names: after Jetson Linux 32, 36 and 38.
- RAPL: the kernel's power/powercap. An AMD part of several dies has a zone for each die, and all
  read the one counter of their socket. /sys/class/powercap shows a zone flat and nested.
- Raspberry Pi: `vcgencmd` of the firmware; get_throttled of its kernel driver (hex, no 0x).

Not here: files that refuse a read (a sleeping thermal zone has no `temp`), /sys's links, NVML.
"""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "boards"
NOT_REGISTERED = 'error=1 error_msg="Command not registered"'
NAN_FILE = "usr/share/pmic-nan.txt"
Board = dict[str, Any]
Files = dict[str, Any]  # path to contents

# A board's fields; texts are rows of words, parted by commas, as `rows` reads them:
# cores      clusters: count, Arm part number, least, most and present kHz
# limit      kHz that the power mode allows; capacity: cpu_capacity by cluster
# packages   each cluster is a package of its own (Linux before 5.16; two sockets)
# heat       thermal zones: name, m°C; a zone without a figure cannot be read
# gpu        devfreq name, present, least and most Hz; emc: a file and its Hz
# chips      power monitors: "driver address number shunt_uohm" to rails of label, mV, mA
# total      the rails that make the whole; zones: RAPL's zone, name, uJ, of which some count
EMC = "sys/kernel/debug/bpmp/debug/clk/emc/rate"
# fmt: off
ORIN: Board = {
    "family": "jetson", "l4t": "36.4.3", "l4t_board": "generic", "emc": f"{EMC} 3199000000",
    "packages": True, "governor": "schedutil",
    "heat": "cpu-thermal 47875, gpu-thermal 48562, cv0-thermal, cv1-thermal, soc0-thermal 46968, "
            "tj-thermal 50218"}
XAVIER: Board = {
    "family": "jetson", "l4t": "32.7.1", "l4t_board": "t186ref", "packages": True,
    "governor": "schedutil", "fan": " fmode:quiet",
    "heat": "AUX-therm 35500, CPU-therm 38000, GPU-therm 36500, AO-therm 36000, PMIC-Die 50000"}
AC = {"type": "Mains", "online": 0}
BATTERY = {"type": "Battery", "status": "Discharging", "present": 1}
# The dies of a socket read one counter. Those of socket 1 were read some time apart.
DIES = [f"intel-rapl:{4 * p + die} package-{p}-die-{die} "
        f"{(10359908363, 48120553001)[p] + p * die * 97703}" for p in (0, 1) for die in range(4)]
# Rail, index of its current and of its voltage in `pmic_read_adc`, amperes, volts.
PMIC = (
    "3V7_WL_SW 0 8 0.05855580 3.66182400, 3V3_SYS 1 9 0.07027440 3.31003200, "
    "1V8_SYS 2 10 0.14542460 1.80952200, DDR_VDD2 3 11 0.13955800 1.10842600, "
    "DDR_VDDQ 4 12 0.00975980 0.60293000, 1V1_SYS 5 13 0.20106720 1.10622600, "
    "0V8_SW 6 14 0.33182640 0.80219700, VDD_CORE 7 15 5.03652000 0.88124600, "
    "3V3_DAC 17 20 0.00012210 3.30804000, 3V3_ADC 18 21 0.00042735 3.30621000, "
    "0V8_AON 16 19 0.00451770 0.79780000, HDMI 22 23 0.02197800 4.92450000")
TABLE: dict[str, Board] = {
    "jetson-orin-nano-8gb": ORIN | {
        "model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "compatible": "nvidia,p3768-0000+p3767-0005-super nvidia,p3767-0005 nvidia,tegra234",
        "cores": "4 0xd42 729600 1728000 1036800, 2 0xd42 729600 1728000 729600", "big": 6,
        "memory_kib": 7802880, "modes": "15W 25W MAXN_SUPER 7W", "mode": 2, "total": "VDD_IN",
        "gpu": "17000000.gpu 306000000 306000000 1020000000", "chips": {"ina3221 1-0040 1 5000":
            "VDD_IN 4984 968, VDD_CPU_GPU_CV 4976 120, VDD_SOC 4976 304"}},
    "jetson-orin-nx-16gb": ORIN | {
        "model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "l4t": "36.4.0",
        "compatible": "nvidia,p3768-0000+p3767-0000 nvidia,p3767-0000 nvidia,tegra234",
        "cores": "4 0xd42 729600 1984000 1497600, 4 0xd42 729600 1984000 1497600", "big": 8,
        "limit": 1497600, "memory_kib": 16024932, "modes": "MAXN 10W 15W 25W", "mode": 3,
        "gpu": "17000000.gpu 408000000 306000000 408000000", "chips": {"ina3221 1-0040 1 5000":
            "VDD_IN 4952 2208, VDD_CPU_GPU_CV 4944 824, VDD_SOC 4944 440"}, "total": "VDD_IN"},
    "jetson-agx-orin-64gb": ORIN | {
        "model": "NVIDIA Jetson AGX Orin Developer Kit", "governor": "performance",
        "compatible": "nvidia,p3737-0000+p3701-0005 nvidia,p3701-0005 nvidia,tegra234",
        "cores": ", ".join(["4 0xd42 729600 2201600 2201600"] * 3), "big": 12,
        "memory_kib": 64349696, "modes": "MAXN 15W 30W 50W", "mode": 0,
        "gpu": "17000000.gpu 1300500000 306000000 1300500000", "chips": {"ina3221 1-0040 3 2000":
            "VDD_GPU_SOC 843 6170, VDD_CPU_CV 780 3437, VIN_SYS_5V0 4968 953",
            "ina3221 1-0041 4 2000": "NC 0 0, VDDQ_VDD2_1V8AO 1800 341, NC 4968 8"},
        "total": "VDD_GPU_SOC VDD_CPU_CV VIN_SYS_5V0"},
    "jetson-agx-thor": {
        "model": "NVIDIA Jetson AGX Thor Developer Kit", "family": "jetson", "l4t": "38.2.0",
        "compatible": "nvidia,p4071-0000+p3834-0008 nvidia,p3834-0008 nvidia,tegra264",
        "cores": "14 0xd83 972000 2601000 972000", "governor": "schedutil", "big": 14,
        "memory_kib": 128825804, "l4t_board": "generic", "modes": "MAXN 120W 90W 70W", "mode": 1,
        "heat": "cpu-thermal 41250, gpu-thermal 39718, soc012-thermal 40500, tj-thermal 41250",
        "gpu": "gpu-gpc-0 315000000 315000000 1386000000", "chips": {"ina3221 2-0040 2 1000":
            "VDD_GPU 12040 -8, VDD_CPU_SOC_MSS 12040 960, VIN_SYS_5V0 5088 1740",
            "ina238 2-0044 3 2000": "VIN 19952 1180"}, "total": "VIN", "emc": f"{EMC} 4266000000"},
    "jetson-xavier-nx": XAVIER | {
        "model": "NVIDIA Jetson Xavier NX Developer Kit", "emc": f"{EMC} 1866000000",
        "compatible": "nvidia,p3509-0000+p3668-0000 nvidia,p3668-0000 nvidia,tegra194",
        "cores": ", ".join(["2 0x004 115200 1907200 1190400"] * 3), "limit": 1420800, "big": 6,
        "modes": "MODE_15W_2CORE MODE_15W_4CORE MODE_15W_6CORE MODE_10W_2CORE MODE_10W_4CORE "
                 "MODE_10W_DESKTOP MODE_20W_2CORE MODE_20W_4CORE MODE_20W_6CORE", "mode": 8,
        "memory_kib": 7969904, "gpu": "17000000.gv11b 114750000 114750000 1109250000",
        "chips": {"ina3221x 7-0040 0 5000":
            "VDD_IN 4936 712, VDD_CPU_GPU_CV 4928 124, VDD_SOC 4928 200"}, "total": "VDD_IN"},
    "jetson-nano": {
        "model": "NVIDIA Jetson Nano Developer Kit", "family": "jetson", "l4t": "32.7.1",
        "compatible": "nvidia,p3450-0000 nvidia,jetson-nano nvidia,tegra210",
        "cores": "4 0xd07 102000 1479000 921600", "governor": "schedutil", "big": 4,
        "memory_kib": 4059292, "l4t_board": "t210ref", "modes": "MAXN 5W", "mode": 0,
        "heat": "AO-therm 42000, CPU-therm 33500, GPU-therm 31000, PLL-therm 31500, "
                "PMIC-Die 100000, thermal-fan-est 32250", "total": "POM_5V_IN",
        "gpu": "57000000.gpu 76800000 76800000 921600000",
        "emc": "sys/kernel/debug/clk/emc/clk_rate 1600000000", "chips": {"ina3221x 6-0040 0 5000":
            "POM_5V_IN 5072 401, POM_5V_GPU 5072 8, POM_5V_CPU 5064 104"}},
    "jetson-agx-xavier": XAVIER | {
        "model": "Jetson-AGX", "compatible": "nvidia,p2972-0000 nvidia,tegra194", "l4t": "32.6.1",
        "cores": ", ".join(["2 0x004 115200 2265600 1190400"] * 4), "big": 8,
        "modes": "MAXN MODE_10W MODE_15W MODE_30W_ALL MODE_30W_6CORE MODE_30W_4CORE", "mode": 0,
        "memory_kib": 32692120, "gpu": "17000000.gv11b 318750000 114750000 1377000000",
        "emc": f"{EMC} 2133000000", "total": "GPU CPU SOC CV VDDRQ SYS5V", "chips": {
            "ina3221x 1-0040 0 5000": "GPU 18984 24, CPU 18984 57, SOC 18984 106",
            "ina3221x 1-0041 1 5000": "CV 18984 0, VDDRQ 18992 33, SYS5V 5152 396"}},
    "raspberry-pi-5": {
        "model": "Raspberry Pi 5 Model B Rev 1.0", "family": "raspberry-pi", "pmic": True,
        "compatible": "raspberrypi,5-model-b brcm,bcm2712", "revision": "d04170",
        "cores": "4 0xd0b 1500000 2400000 2400000", "heat": "cpu-thermal 61500",
        "governor": "ondemand", "memory_kib": 8256224, "big": 4, "throttled": 0x50000,
        "clock": "frequency(0)=2400033792"},
    "raspberry-pi-4": {
        "model": "Raspberry Pi 4 Model B Rev 1.4", "family": "raspberry-pi",
        "compatible": "raspberrypi,4-model-b brcm,bcm2711", "revision": "d03114",
        "cores": "4 0xd08 600000 1500000 600000", "heat": "cpu-thermal 44790",
        "governor": "ondemand", "memory_kib": 7996784, "big": 4, "throttled": 0,
        "clock": "frequency(48)=600117184"},
    "orange-pi-5": {
        "model": "Xunlong Orange Pi 5", "compatible": "xunlong,orangepi-5 rockchip,rk3588s",
        "cores": "4 0xd05 408000 1800000 1200000, 2 0xd0b 408000 2400000 1608000, "
                 "2 0xd0b 408000 2400000 1608000", "capacity": [414, 1024, 1024],
        "governor": "schedutil", "memory_kib": 16164444, "big": 4,
        "heat": "package-thermal 43461, bigcore0-thermal 43461, bigcore2-thermal 42538, "
                "littlecore-thermal 43461, gpu-thermal 41615"},
    "unknown-arm": {
        "model": "Example Vendor EV-9 Evaluation Board", "compatible": "example,ev-9 example,soc9",
        "cores": "4 0xd03 500000 1400000 1000000", "heat": "soc-thermal 39000", "big": 4,
        "governor": "performance", "memory_kib": 2012344,
        "chips": {"ina3221 0-0041 0 10000": "VDD_A 5016 304, VDD_B 3304 152, NC 5016 40"}},
    "intel-n100": {
        "vendor": "AZW", "model": "MINI S", "cpu": "Intel(R) N100", "governor": "powersave",
        "cores": "4 - 700000 3400000 2100000", "memory_kib": 16177288, "big": 4,
        "heat": "acpitz 27800, x86_pkg_temp 46000", "range_uj": 262143328850,
        "zones": "intel-rapl:0 package-0 91733511920, intel-rapl:0:0 core 20417755103, "
                 "intel-rapl:0:1 uncore 1190338211", "counted": "intel-rapl:0"},
    "intel-laptop": {
        "vendor": "LENOVO", "model": "20L5S02L00", "governor": "powersave", "threads": 2,
        "cpu": "Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "memory_kib": 16274636, "big": 4,
        "cores": "4 - 400000 4000000 1800000", "counted": "intel-rapl:0", "range_uj": 262143328850,
        "heat": "acpitz 47000, x86_pkg_temp 51000, iwlwifi_1",
        "zones": "intel-rapl:0 package-0 38911474206, intel-rapl:0:0 core 21604118530, "
                 "intel-rapl:0:1 uncore 612003349, intel-rapl:0:2 dram 9140332177, "
                 "intel-rapl:1 psys 120443910551, intel-rapl-mmio:0 package-0 38911474206",
        "supplies": {"AC": AC, "BAT0": BATTERY | {"power_now": 9876000, "voltage_now": 11400000,
                     "energy_now": 18210000, "energy_full": 23480000}}},
    "laptop-current-only": {
        "vendor": "Dell Inc.", "model": "Latitude 7280", "governor": "powersave", "threads": 2,
        "cpu": "Intel(R) Core(TM) i5-7200U CPU @ 2.50GHz", "memory_kib": 7998844, "big": 2,
        "cores": "2 - 400000 3100000 800000", "heat": "x86_pkg_temp 42000",
        "supplies": {"AC": AC, "BAT0": BATTERY | {"current_now": -843000, "voltage_now": 7612000,
                     "charge_now": 5120000, "charge_full": 6563000}}},
    "server-two-gpu": {
        "vendor": "Supermicro", "model": "AS -2023US-TR4", "cpu": "AMD EPYC 7251 8-Core Processor",
        "cores": "8 - 1200000 2100000 2100000, 8 - 1200000 2100000 2100000", "packages": True,
        "governor": "performance", "memory_kib": 131894552, "big": 16, "heat": "",
        "zones": ", ".join([*DIES, "intel-rapl:0:0 core 30144821, intel-rapl:4:0 core 29811473"]),
        "counted": "intel-rapl:0 intel-rapl:4", "range_uj": 65532610987,
        "extra": {"dev/nvidiactl": "", "dev/nvidia0": "", "dev/nvidia1": ""}},
}
# fmt: on


def rows(text: str) -> list[list[str]]:
    """Return a text's rows of words."""
    return [row.split() for row in text.split(", ") if row]


def cpu_files(board: Board) -> Files:
    """Return /proc/cpuinfo and /sys/devices/system/cpu."""
    top, threads, at = "sys/devices/system/cpu", board.get("threads", 1), 0
    files: Files = {}
    info = []
    for cluster, (number, part, least, most, now) in enumerate(rows(board["cores"])):
        count, limit = int(number), board.get("limit", most)
        package = cluster if board.get("packages") else 0
        for n in range(count * threads):
            core = n % count
            twins = ",".join(str(at - n + core + thread * count) for thread in range(threads))
            cpu: Files = {"cpufreq/scaling_governor": board["governor"], "topology/core_id": core}
            cpu |= {"cpufreq/scaling_cur_freq": now, "cpufreq/scaling_min_freq": least}
            cpu |= {"cpufreq/scaling_max_freq": limit, "cpufreq/cpuinfo_max_freq": most}
            cpu |= {"topology/physical_package_id": package, "topology/core_cpus_list": twins}
            if "capacity" in board:
                # Since Linux 5.16 a core's number starts anew in each cluster of one package.
                cpu |= {"cpu_capacity": board["capacity"][cluster], "topology/cluster_id": cluster}
            files |= {f"{top}/cpu{at}/{name}": value for name, value in cpu.items()}
            lines = f"processor\t: {at}\n"
            if "vendor" in board:
                maker = "AuthenticAMD" if "AMD" in board["cpu"] else "GenuineIntel"
                lines += f"vendor_id\t: {maker}\nmodel name\t: {board['cpu']}\n"
                lines += f"physical id\t: {package}\nsiblings\t: {count * threads}\n"
                lines += f"core id\t\t: {core}\ncpu cores\t: {count}\n"
            else:
                maker = "0x4e" if part == "0x004" else "0x41"
                lines += f"BogoMIPS\t: 62.50\nCPU implementer\t: {maker}\nCPU part\t: {part}\n"
            info.append(lines)
            at += 1
    if "revision" in board:
        info.append(f"Revision\t: {board['revision']}\nModel\t\t: {board['model']}\n")
    files |= {f"{top}/online": f"0-{at - 1}", f"{top}/present": f"0-{at - 1}"}
    return files | {"proc/cpuinfo": "\n".join(info).rstrip("\n")}


def chip_files(chip: str, text: str) -> Files:
    """Return one power monitor's files, with those beside the readings that are none."""
    driver, address, number, shunt_uohm = chip.split()
    folder = "iio:device" if driver == "ina3221x" else "hwmon/hwmon"
    rails = [(label, int(mv), int(ma)) for label, mv, ma in rows(text)]
    shunts = [round(ma * int(shunt_uohm) / 1000) for _, _, ma in rails]
    files: Files = {"name": driver}
    for n, (label, mv, ma) in enumerate(rails):
        if driver == "ina3221x":
            files |= {f"rail_name_{n}": label, f"in_voltage{n}_input": mv}
            files |= {f"in_current{n}_input": ma, f"in_power{n}_input": mv * ma // 1000}
            files |= {f"in_power{n}_trigger_input": 32760, f"crit_current_limit_{n}": 8190}
        elif driver == "ina238":
            files |= {"in0_input": shunts[0] // 1000, "in1_input": mv, "in1_label": label}
            files |= {"curr1_input": ma, "power1_input": mv * ma, "temp1_input": 38000}
        else:
            files |= {f"in{n + 1}_label": label, f"in{n + 1}_input": mv, f"in{n + 1}_enable": 1}
            files |= {f"curr{n + 1}_input": ma, f"curr{n + 1}_max": 32760}
            files |= {f"in{n + 4}_input": shunts[n], f"shunt{n + 1}_resistor": shunt_uohm}
    if driver == "ina3221":
        files |= {"in7_label": "sum of shunt voltages", "in7_input": sum(shunts)}
        files["curr4_input"] = sum(ma for _, _, ma in rails)
    here = f"sys/bus/i2c/drivers/{driver}/{address}/{folder}{number}/"
    return {here + name: value for name, value in files.items()}


def jetson_files(board: Board) -> Files:
    """Return the files of Jetson Linux."""
    name, now, least, most = board["gpu"].split()
    emc_file, emc_hz = board["emc"].split()
    release, _, revision = board["l4t"].partition(".")
    conf = "# < POWER_MODEL ID=id_num NAME=mode_name >\n\n< PARAM TYPE=CLOCK NAME=GPU >\n"
    conf += f"MAX_FREQ /sys/class/devfreq/{name}/max_freq\n\n"
    for number, mode in enumerate(board["modes"].split()):
        cap = -1 if mode.startswith("MAXN") else most
        conf += f"< POWER_MODEL ID={number} NAME={mode} >\nGPU MAX_FREQ {cap}\n\n"
    devfreq = {"cur_freq": now, "min_freq": least, "max_freq": most, "governor": "nvhost_podgov"}
    return {
        "etc/nv_tegra_release": f"# R{release} (release), REVISION: {revision}, GCID: 38968081, "
        f"BOARD: {board['l4t_board']}, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025",
        "etc/nvpmodel.conf": f"{conf}< PM_CONFIG DEFAULT=1 >",
        "var/lib/nvpmodel/status": f"pmode:{board['mode']:04d}{board.get('fan', '')}",
        emc_file: emc_hz,
    } | {f"sys/class/devfreq/{name}/{key}": value for key, value in devfreq.items()}


def rapl_files(board: Board) -> Files:
    """Return /sys/class/powercap: each zone by its own name and below its parents."""
    files: Files = {}
    for zone, name, energy_uj in rows(board.get("zones", "")):
        kind, *numbers = zone.split(":")
        parents = [":".join([kind, *numbers[:n]]) for n in range(len(numbers))]
        for here in (zone, "/".join([*parents, zone])):
            top = f"sys/class/powercap/{here}"
            files |= {f"{top}/name": name, f"{top}/energy_uj": energy_uj, f"{top}/enabled": 1}
            files[f"{top}/max_energy_range_uj"] = board["range_uj"]
    return files


def pmic_text(lost: str = "") -> str:
    """Return what `vcgencmd pmic_read_adc` prints; the rail `lost` has no voltage."""
    lines = [f"{rail + '_A':>12} current({at})={amps}A" for rail, at, _, amps, _ in rows(PMIC)]
    for rail, _, at, _, volts in rows(PMIC):
        lines.append(f"{rail + '_V':>12} volt({at})={'nan' if rail == lost else volts}V")
    lines += [f"{'EXT5V_V':>12} volt(24)=4.92450000V", f"{'BATT_V':>12} volt(25)=0.00341880V"]
    return "\n".join(lines)


def raspberry_files(board: Board) -> Files:
    """Return the firmware's command and its flags."""
    flags, celsius = f"{board['throttled']:x}", int(board["heat"].split()[1]) / 1000
    answers = {"get_throttled": f"throttled=0x{flags}", "measure_temp": f"temp={celsius:.1f}'C"}
    answers |= {"measure_clock arm": board["clock"]}
    answers |= {"pmic_read_adc": pmic_text()} if "pmic" in board else {}
    cases = "".join(f"'{ask}') cat <<'END'\n{say}\nEND\n;;\n" for ask, say in answers.items())
    script = f"#!/bin/sh\ncase \"$*\" in\n{cases}*) echo '{NOT_REGISTERED}' ;;\nesac"
    files = {NAN_FILE: pmic_text("VDD_CORE")} if "pmic" in board else {}
    files["sys/devices/platform/soc/soc:firmware/get_throttled"] = flags
    return files | {"usr/bin/vcgencmd": script}


def tree(board: Board) -> Files:
    """Return all of a board's files."""
    memory = board["memory_kib"]
    sizes = {"MemTotal": memory, "MemFree": memory * 3 // 5, "MemAvailable": memory * 4 // 5}
    lines = [f"{key + ':':<16}{value:>8} kB" for key, value in sizes.items()]
    files: Files = cpu_files(board) | rapl_files(board) | board.get("extra", {})
    files |= {"proc/meminfo": "\n".join(lines), "proc/loadavg": "0.12 0.20 0.18 1/345 4321"}
    if "vendor" in board:
        files["sys/class/dmi/id/sys_vendor"] = board["vendor"]
        files["sys/class/dmi/id/product_name"] = board["model"]
    else:
        files["proc/device-tree/model"] = board["model"] + "\0"
        files["proc/device-tree/compatible"] = board["compatible"].replace(" ", "\0") + "\0"
    for n, row in enumerate(rows(board["heat"])):
        pairs = zip(("type", "temp"), row, strict=False)
        files |= {f"sys/class/thermal/thermal_zone{n}/{key}": value for key, value in pairs}
    for chip, rails in board.get("chips", {}).items():
        files |= chip_files(chip, rails)
    for name, supply in board.get("supplies", {}).items():
        files |= {f"sys/class/power_supply/{name}/{key}": value for key, value in supply.items()}
    files |= jetson_files(board) if "l4t" in board else {}
    return files | raspberry_files(board) if "throttled" in board else files


def meter(source: str, watts: dict[str, Decimal], total: list[str], **more: Any) -> dict[str, Any]:
    """Return one source of power as truth.json has it; no total of rails that make none."""
    whole = float(sum(watts[rail] for rail in total)) if watts and total else None
    all_rails = {rail: float(value) for rail, value in watts.items()}
    return {"source": source, "rails": total, "total_w": whole, "all_rails_w": all_rails, **more}


def meters(board: Board) -> list[dict[str, Any]]:
    """Return what each source of power says, by arithmetic on the tables above."""
    found: list[dict[str, Any]] = []
    if "chips" in board:
        micro: dict[str, int] = {}
        for chip, text in board["chips"].items():
            step = 1000 if chip.startswith("ina3221x") else 1  # that driver gives whole mW
            rails = [row for row in rows(text) if row[0] != "NC"]
            micro |= {name: int(mv) * int(ma) // step * step for name, mv, ma in rails}
        watts = {name: Decimal(max(0, uw)) / 10**6 for name, uw in micro.items()}
        clamped = [name for name, uw in micro.items() if uw < 0]
        found.append(meter("ina", watts, board.get("total", "").split(), clamped=clamped))
    if "pmic" in board:
        watts = {rail: Decimal(amps) * Decimal(volts) for rail, _, _, amps, volts in rows(PMIC)}
        nan = {"nan_file": NAN_FILE, "nan_rails": ["VDD_CORE"], "nan_total_w": None}
        found.append(meter("pmic", watts, list(watts), **nan))
    if "zones" in board:
        counted = board["counted"].split()
        names = {zone: name for zone, name, _ in rows(board["zones"])}
        energy = {zone: int(energy_uj) for zone, _, energy_uj in rows(board["zones"])}
        more: dict[str, Any] = {"counted": counted, "names": names, "energy_uj": energy}
        more["counted_energy_uj"] = sum(energy[zone] for zone in counted)
        more["max_energy_range_uj"] = board["range_uj"]
        found.append(meter("rapl", {}, [names[zone] for zone in counted], **more))
    if battery := board.get("supplies", {}).get("BAT0"):
        volt_amperes = battery["voltage_now"] * abs(battery.get("current_now", 0))
        watts = {"BAT0": Decimal(battery.get("power_now", 0) * 10**6 or volt_amperes) / 10**12}
        found.append(meter("battery", watts, ["BAT0"]))
    return found


def truth(name: str, board: Board) -> dict[str, Any]:
    """Return what code that reads the tree should say."""
    flags = board.get("throttled")
    return {
        "note": "replayed from documentation, not measured; written by support/boards_build.py",
        "board": name,
        "family": board.get("family"),
        "model": board["model"],
        "power_mode": board["modes"].split()[board["mode"]] if "l4t" in board else None,
        "l4t": board.get("l4t"),
        "meters": meters(board),
        "governor": board["governor"],
        "temperature_c": {r[0]: int(r[1]) / 1000 for r in rows(board["heat"]) if len(r) > 1},
        "throttled_now": None if flags is None else bool(flags & 0xF),
        "throttled_before": None if flags is None else bool(flags & 0xF0000),
        "cores_big": board["big"],
    }


def main() -> None:
    """Write every board's folder anew."""
    for name, board in TABLE.items():
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        for path, value in tree(board).items():
            file, text = FOLDER / name / path, str(value)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text if text.endswith("\0") or not text else text + "\n")
            if path.startswith("usr/bin/"):
                file.chmod(0o755)
        (FOLDER / name / "truth.json").write_text(json.dumps(truth(name, board), indent=2) + "\n")


if __name__ == "__main__":
    main()
